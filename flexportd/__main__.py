"""The entry point: the `flexportd` command and `python -m flexportd`."""

from flexportd import hangup

hangup.defer()  # before the long imports; every command but `serve` takes it back

from flexportd.cli.main import main  # noqa: E402

__all__ = ["main"]

if __name__ == "__main__":
    main()
