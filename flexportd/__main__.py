"""`python -m flexportd`: the same as the `flexportd` command."""

from flexportd.cli.main import main

if __name__ == "__main__":
    main()
