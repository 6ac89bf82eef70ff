"""The only clock: aware UTC times and sleeping, so that a test can hold the time."""

import asyncio
from datetime import UTC, datetime, timedelta


class Clock:
    """Real time. A test passes a subclass whose `now` it turns."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 (this is the clock)

    def stamp(self) -> str:
        """The present as stored: fixed-width ISO 8601 UTC with milliseconds, so text order is time order."""
        return stamp(self.now())

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


def stamp(moment: datetime) -> str:
    """An aware time as stored and shown: `2026-03-04T02:41:09.377Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def parse(text: str) -> datetime:
    """A stored stamp as an aware time. Raises ValueError on anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return moment


def age(since: str | None, now: datetime) -> float | None:
    """Seconds from a stored stamp to `now`, never below zero; None for None."""
    return None if since is None else max(0.0, (now - parse(since)) / timedelta(seconds=1))
