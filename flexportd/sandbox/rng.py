"""Random values by key: the same seed, name and key give the same value, in any order of calls."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_RANGE = 2**64


class KeyedRandom:
    """The random values of one thing, identified by its name."""

    def __init__(self, seed: int, name: str) -> None:
        self._stem = f"{seed}/{name}/"

    def random(self, key: str) -> float:
        """From 0 to 1, without 1."""
        return self.integer(key) / _RANGE

    def integer(self, key: str) -> int:
        """A whole number below 2^64."""
        return int.from_bytes(blake2b((self._stem + key).encode(), digest_size=8).digest())

    def randint(self, key: str, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return least + self.integer(key) % (most - least + 1)

    def choice(self, key: str, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(key) % len(options)]
