"""All codecs under atheris (Apache-2.0), which is no part of the development set: it has wheels for Linux alone."""
