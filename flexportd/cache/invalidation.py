"""What was dropped when: tells of a stored answer whether anything that it shows has changed since."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

_MAX_TAGS = 20_000  # tags remembered one by one


class TagVersionsState(NamedTuple):
    """What outlasts a restart."""

    epoch: int
    floor: int
    at: dict[str, int]


class TagVersions:
    """Counts drops. An answer belongs to the epoch in which its building began, and is stale once a tag was dropped.

    Nothing has to be found and deleted for that, so that a drop costs the same however much is stored, takes effect
    at once, and holds for what is still on its way to the disk.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._floor = 0  # all that is older is stale, whatever its tags
        self._at: dict[str, int] = {}

    def invalidate(self, tags: Iterable[str]) -> None:
        """From now on, what has one of these tags must be of the present epoch."""
        self.epoch += 1
        for tag in tags:
            self._at[tag] = self.epoch
        if len(self._at) > _MAX_TAGS:
            # The older half goes as a whole; that drops more than was asked for, never less.
            self._floor = sorted(self._at.values())[len(self._at) // 2]
            self._at = {tag: epoch for tag, epoch in self._at.items() if epoch > self._floor}

    def invalidate_all(self) -> None:
        """From now on, everything must be of the present epoch."""
        self.epoch += 1
        self._floor = self.epoch
        self._at.clear()

    def is_stale(self, tags: Iterable[str], epoch: int) -> bool:
        """Whether an answer of this epoch may not be shown any more."""
        return epoch < self._floor or any(self._at.get(tag, 0) > epoch for tag in tags)

    def state(self) -> TagVersionsState:
        """What to remember."""
        return TagVersionsState(self.epoch, self._floor, dict(self._at))

    def restore(self, epoch: int, floor: int, at: Mapping[str, int]) -> None:
        """Go on where `state` was taken; what was dropped here meanwhile comes after that."""
        self._floor = epoch + self._floor if self._floor else floor
        self._at = {**at, **{tag: epoch + mine for tag, mine in self._at.items()}}
        self.epoch += epoch
