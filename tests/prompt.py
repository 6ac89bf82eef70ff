"""`python -m tests.prompt ARGUMENT...`: flexportd, whose jobs begin right at its start, not some random seconds after."""

from flexportd.cli.main import main
from flexportd.jobs import scheduler


class EarliestMoment:
    """In place of `random`."""

    @staticmethod
    def uniform(earliest: float, _latest: float) -> float:
        return earliest


if __name__ == "__main__":
    scheduler.random = EarliestMoment
    main()
