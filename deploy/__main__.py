"""`python -m deploy`: the command line without the console script, as the supervisor starts its children."""

from deploy.cli.main import main

if __name__ == "__main__":  # a board's process imports it under another name
    main()
