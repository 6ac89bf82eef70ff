"""The only clock: aware UTC times and sleeping, so that a test can hold the time and a demo can speed it up."""

import asyncio
import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


class Clock:
    """Real time. A test passes a subclass whose `now` it turns.

    `now` is the time of the freight and of everything stored and shown. What depends on the machine (timeouts, retries,
    rate limits, log lines) is measured by `machine`, or converted with `after` and `until`.
    """

    speed = 1.0
    """Seconds of this clock in one second of the machine."""

    @property
    def machine(self) -> "Clock":
        """The clock of this machine."""
        return self

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 (this is the clock)

    def stamp(self) -> str:
        """The present as stored: fixed-width ISO 8601 UTC with milliseconds, so text order is time order."""
        return stamp(self.now())

    def after(self, seconds: float) -> datetime:
        """What this clock shows when so many seconds of the machine have passed."""
        return self.now() + timedelta(seconds=seconds * self.speed)

    def until(self, moment: datetime) -> float:
        """Seconds of the machine until this clock shows a moment; negative when that has passed."""
        return (moment - self.now()) / timedelta(seconds=self.speed)

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop, in seconds of the machine."""
        await asyncio.sleep(seconds)


class SimulatedClock(Clock):
    """The time of a simulated world that moves in steps, `speed` times as fast as the machine's clock.

    Between two steps it goes on as fast as the machine's, so that what the daemon notes is never ahead of the world.
    """

    def __init__(self, machine: Clock, speed: float) -> None:
        """`speed` is 1 or more. Raises ValueError."""
        if speed < 1:
            raise ValueError(f"speed is {speed:g}; a simulated clock is at least as fast as the machine's")
        self.speed = speed
        self._machine = machine
        self._step = machine.now(), machine.now()
        self.started: datetime | None = None
        """The machine's time at the first step."""

    @property
    def machine(self) -> Clock:
        """The clock of this machine."""
        return self._machine

    def now(self) -> datetime:
        """The present of the world."""
        at, since = self._step
        return at + max(self._machine.now() - since, timedelta())

    def step(self, to: datetime) -> None:
        """The world has moved to this instant. The clock never goes back."""
        now = self._machine.now()
        self._step = max(to, self.now()), now
        self.started = self.started or now

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop, in seconds of the machine."""
        await self._machine.sleep(seconds)


def stamp(moment: datetime) -> str:
    """An aware time as stored and shown: `2026-03-04T02:41:09.377Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def parse(text: str) -> datetime:
    """A stored stamp as an aware time. Raises ValueError on anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return moment


def is_within(since: str | None, now: datetime, span: timedelta) -> bool:
    """Whether a stored stamp is less than `span` ago. One in the future is not: the clock has been set back since."""
    return since is not None and timedelta() <= now - parse(since) < span


def age(since: str | None, now: datetime) -> float | None:
    """Seconds from a stored stamp to `now`, never below zero; None for None."""
    return None if since is None else max(0.0, (now - parse(since)) / timedelta(seconds=1))


@functools.lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of this IANA name; None where there is none."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # unknown, malformed, or the name of a folder
        return None


class MonotonicClock:
    """Counts the seconds of a Clock. When the wall clock is set back, the count stands still for that reading."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.now()
        self._seconds = 0.0

    def seconds(self) -> float:
        """Seconds since this was created; they never run backwards."""
        now = self._clock.now()
        self._seconds += max(0.0, (now - self._last) / timedelta(seconds=1))
        self._last = now
        return self._seconds

    def wall_time(self, seconds: float) -> datetime:
        """The wall clock's time when the count reaches `seconds`."""
        return self._clock.now() + timedelta(seconds=seconds - self.seconds())
