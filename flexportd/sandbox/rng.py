"""Draws that need no order: the same seed, name and question have the same answer, whatever was asked before."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_RANGE = 2**64


class KeyedRandom:
    """The chances of one thing, told by its name."""

    def __init__(self, seed: int, name: str) -> None:
        self._stem = f"{seed}/{name}/"

    def random(self, question: str) -> float:
        """From 0 to 1, without 1."""
        return self.integer(question) / _RANGE

    def integer(self, question: str) -> int:
        """A whole number below 2^64."""
        return int.from_bytes(blake2b((self._stem + question).encode(), digest_size=8).digest())

    def randint(self, question: str, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return least + self.integer(question) % (most - least + 1)

    def choice(self, question: str, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.integer(question) % len(options)]
