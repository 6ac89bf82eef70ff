"""What a handler says of the item it was given. Only the unforeseen is raised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect is in the store (or was there already)."""


@dataclass(frozen=True, slots=True)
class Coalesced:
    """A newer state was there before it: nothing moved backwards."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Kept, but nothing here acts on it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Failed for now; counts as an attempt. `retry_after` (seconds) is a floor for the delay."""

    error: str
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Snooze:
    """Later, without counting as an attempt."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Trying again cannot help: to the dead letters with this error."""

    error: str


Outcome = Applied | Coalesced | Ignored | Retry | Snooze | Dead
