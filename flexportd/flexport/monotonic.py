"""Seconds that never run backwards, made from the one clock."""

from datetime import datetime, timedelta

from flexportd.clock import Clock


class MonotonicClock:
    """Counts the seconds of a Clock. When the wall clock is set back, the count stands still for that reading."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = clock.now()
        self._seconds = 0.0

    def seconds(self) -> float:
        """Seconds since this was made."""
        now = self._clock.now()
        self._seconds += max(0.0, (now - self._last) / timedelta(seconds=1))
        self._last = now
        return self._seconds

    def wall_time(self, seconds: float) -> datetime:
        """The wall clock's time at which the count will stand at `seconds`."""
        return self._clock.now() + timedelta(seconds=seconds - self.seconds())
