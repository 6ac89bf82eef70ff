"""What a job is: its schedule, what it runs, how long it may take."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from flexportd.errors import FlexportdError

Outcome = Literal["done", "failed", "cancelled", "timed_out", "interrupted"]
Cause = Literal["schedule", "start", "catch_up", "manual"]
AtStart = Literal["no", "first", "always"]

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


class StoppedError(FlexportdError):
    """A run ended early because the daemon stops; it resumes at the next start."""

    slug = "stopped"


def duration(seconds: float) -> str:
    """A duration in the largest unit that holds it whole: `5 min`, `90 s`."""
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size and seconds % size == 0), ("s", 1))
    return f"{seconds / size:g} {unit}"


def unexpected_message(error: Exception) -> str:
    """The message of an unexpected error; the log has its text."""
    return f"Unexpected {type(error).__name__}; see the daemon's log"


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval after the last due time. Raises ValueError unless it is above zero."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"every {self.seconds:g} s: a number of seconds above zero is needed")

    def __str__(self) -> str:
        return f"every {duration(self.seconds)}"


@dataclass(frozen=True, slots=True)
class Cron:
    """The times of a crontab line (minute, hour, day, month, weekday), in UTC whatever the machine's time zone.

    Raises ValueError for anything else, and for weekdays as numbers: crontab counts them from Sunday, APScheduler 3
    from Monday.
    """

    line: str

    def __post_init__(self) -> None:
        fields = self.line.split()
        if len(fields) != 5:
            raise ValueError(f"{self.line!r} has {len(fields)} fields; minute, hour, day, month and weekday are needed")
        if any(char.isdigit() for char in fields[4]):
            raise ValueError(f"{self.line!r}: weekdays go by name, such as mon or mon-fri")

    def __str__(self) -> str:
        minute, hour, *rest = self.line.split()
        if minute.isdigit() and hour.isdigit() and rest == ["*", "*", "*"]:
            return f"daily at {int(hour):02}:{int(minute):02} UTC"
        return f"at {self.line} UTC"


Schedule = Every | Cron


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run as the job sees it. `number` is the id of its row in `job_runs`."""

    job: str
    number: int
    cause: Cause
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def check_stop(self) -> None:
        """Called between steps, when all work so far is stored. Raises StoppedError when the daemon stops."""
        if self.stopping.is_set():
            raise StoppedError("The daemon was stopped; the job resumes at the next start")


JobFunction = Callable[[JobRun], Awaitable[str | None]]
"""Does the job; a sentence on what it did, or None. Raises FlexportdError with a sentence if it failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as defined in code. Times in seconds.

    Each run starts up to `jitter` later than due, at random, and is cancelled after `limit`. `at_start`: it also runs
    shortly after each start of the daemon ("always") or only after the first one ("first").
    """

    name: str
    title: str
    run: JobFunction
    schedule: Schedule
    limit: float
    jitter: float = 0.0
    at_start: AtStart = "no"
