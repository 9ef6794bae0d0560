"""The documentation knows everything that a person can use, and says nothing that is no longer so."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import dashboards
import deploy
import devices
import ingest
import processors
import processors.detectors
from deploy.docs_tables import DOCS, all_commands, meaning, pages
from deploy.settings_loader import keys
from devices import kinds

ROOT = Path(deploy.__file__).parent.parent
PAGES = pages()
MODULES = sorted(
    info.name
    for package in (devices, ingest, processors, dashboards, deploy)
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    # Running these two starts something: the command line, and a database migration.
    if info.name not in {"deploy.__main__", "deploy.migrations.env"} and ".versions." not in info.name
)


@pytest.mark.parametrize("name", PAGES)
def test_the_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name], "run: make docs"


@pytest.mark.parametrize("key", [key for key, *_ in keys()])
def test_the_setting_is_explained(key: str) -> None:
    _, one, _, cls = next(found for found in keys() if found[0] == key)
    assert meaning(cls, one), f"{cls.__name__}: say in its docstring what `{one.name}` is"


@pytest.mark.parametrize("name", [name for name, _ in all_commands()])
def test_the_command_and_each_of_its_options_are_explained(name: str) -> None:
    command = dict(all_commands())[name]
    assert command.help
    for parameter in command.params:
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name
    assert f"## `undercity {name}`" in PAGES["commands.md"]


@pytest.mark.parametrize("name", kinds.load())
def test_the_kind_is_documented(name: str) -> None:
    assert f"## `{name}`" in PAGES["kinds.md"]


@pytest.mark.parametrize("name", processors.detectors.load())
def test_the_detector_and_each_of_its_parameters_are_explained(name: str) -> None:
    detector = processors.detectors.load()[name]
    assert detector.__doc__
    for parameter in detector.PARAMS:
        assert f"`{parameter}`" in detector.__doc__, f"{name}: say in its docstring what `{parameter}` is"


@pytest.mark.parametrize("name", MODULES)
def test_the_module_says_what_it_is_and_its_examples_are_true(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_every_link_between_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "deploy/docs/README.md"])
def test_every_page_can_be_reached_from_the_index(document: str) -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / document).read_text(encoding="utf-8")))
    prefix = "deploy/docs/" if document == "ARCHITECTURE.md" else ""
    pages_there = {prefix + page.name for page in DOCS.glob("*.md")} - {document, "README.md"}
    assert pages_there - linked == set()


def test_a_parameter_without_a_default_says_that_it_is_required() -> None:
    page = PAGES["detectors.md"]
    assert "nan" not in page
    assert "| `slack` | required |" in page
    assert "| `high` | none; required without `low` |" in page


def test_decisions_are_numbered_without_a_repetition() -> None:
    numbers = [path.name[:4] for path in (DOCS / "decisions").glob("*.md")]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
