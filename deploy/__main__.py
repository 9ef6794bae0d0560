"""`python -m deploy`: the command line without the console script, as the supervisor starts its children."""

from deploy.cli.main import main

main()
