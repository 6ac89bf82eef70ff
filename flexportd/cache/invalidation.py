"""Invalidation by tag: whether anything that a stored response shows has changed since it was built."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

_MAX_TAGS = 20_000  # tags remembered individually


class TagVersionsState(NamedTuple):
    """What is kept across a restart."""

    epoch: int
    floor: int
    at: dict[str, int]


class TagVersions:
    """Counts invalidations. A response has the epoch in which building it began; it is stale if a tag has a later one.

    Nothing has to be found and deleted. So an invalidation costs the same however much is stored, takes effect at once,
    and covers entries that are still to be written to the disk.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._floor = 0  # everything older is stale, whatever its tags
        self._at: dict[str, int] = {}

    def invalidate(self, tags: Iterable[str]) -> None:
        """Make everything with one of these tags stale."""
        self.epoch += 1
        for tag in tags:
            self._at[tag] = self.epoch
        if len(self._at) > _MAX_TAGS:
            # The older half becomes one floor: more is stale than was asked for, never less.
            self._floor = sorted(self._at.values())[len(self._at) // 2]
            self._at = {tag: epoch for tag, epoch in self._at.items() if epoch > self._floor}

    def invalidate_all(self) -> None:
        """Make everything stale."""
        self.epoch += 1
        self._floor = self.epoch
        self._at.clear()

    def is_stale(self, tags: Iterable[str], epoch: int) -> bool:
        """Whether a response of this epoch must not be shown."""
        return epoch < self._floor or any(self._at.get(tag, 0) > epoch for tag in tags)

    def state(self) -> TagVersionsState:
        """The state to store."""
        return TagVersionsState(self.epoch, self._floor, dict(self._at))

    def restore(self, epoch: int, floor: int, at: Mapping[str, int]) -> None:
        """Continue from a stored state; invalidations since the start come after it."""
        self._floor = epoch + self._floor if self._floor else floor
        self._at = {**at, **{tag: epoch + own for tag, own in self._at.items()}}
        self.epoch += epoch
