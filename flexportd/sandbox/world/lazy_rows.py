"""A list whose rows are made when they are looked at: fifty thousand shipments have too many papers to keep."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from flexportd.sandbox.catalog.wire_objects import Wire


class LazyRows(Sequence[Wire]):
    """Rows by their keys, in order; `make` turns a key into its row."""

    def __init__(self, keys: Sequence[Any], make: Callable[[Any], Wire]) -> None:
        self._keys = keys
        self._make = make

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Wire: ...

    @overload
    def __getitem__(self, place: slice) -> list[Wire]: ...

    def __getitem__(self, place: int | slice) -> Wire | list[Wire]:
        if isinstance(place, slice):
            return [self._make(key) for key in self._keys[place]]
        return self._make(self._keys[place])

    def __iter__(self) -> Iterator[Wire]:
        return (self._make(key) for key in self._keys)

    def where(self, holds: Callable[[Wire], bool]) -> "LazyRows":
        """The rows that pass."""
        return LazyRows([key for key in self._keys if holds(self._make(key))], self._make)

    def ordered(self, by: Callable[[Wire], Any], *, reverse: bool = False) -> "LazyRows":
        """The rows in the order of a value of theirs; equal ones stay as they are."""
        return LazyRows(sorted(self._keys, key=lambda key: by(self._make(key)), reverse=reverse), self._make)

    def concat(self, others: Sequence[Wire]) -> "LazyRows":
        """These rows and others after them."""
        if not len(others):
            return self
        makers = [functools.partial(self._make, key) for key in self._keys]
        return LazyRows([*makers, *(functools.partial(dict, row) for row in others)], lambda make: make())


def stored_rows(rows: Sequence[Wire]) -> LazyRows:
    """Rows that are there already."""
    return LazyRows(rows, lambda row: row)
