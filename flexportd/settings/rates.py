"""Rates: so many requests in so much time, as `3000/1m`; `off` is no limit."""

import re
from datetime import timedelta
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator

from flexportd.settings.units import format_duration, parse_duration
from flexportd.settings.value_types import ValueType

_RATE = re.compile(r"([0-9]{1,7})/([0-9a-z]{2,20})")
MAX_REQUESTS = 1_000_000
MAX_PERIOD = timedelta(days=1)


class Rate(NamedTuple):
    """So many requests in `seconds`; 0 requests stand for no limit."""

    requests: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.requests}/{format_duration(timedelta(seconds=self.seconds))}" if self.requests else "off"


UNLIMITED = Rate(0, 1)


def parse_rate(value: object) -> Rate:
    """Read `3000/1m`, or `off`; a Rate passes. Raises ValueError with the right form for anything else."""
    if isinstance(value, Rate):
        return value
    if value in ("off", ""):
        return UNLIMITED
    match = _RATE.fullmatch(value) if isinstance(value, str) and value.isascii() else None
    if match is None:
        raise ValueError('expected a rate such as "3000/1m" (requests / time) or "off"')
    span = parse_duration(match[2])
    if not timedelta(seconds=1) <= span <= MAX_PERIOD or span % timedelta(seconds=1):
        raise ValueError("expected a time from 1s to 1d in whole seconds")
    if not 1 <= int(match[1]) <= MAX_REQUESTS:
        raise ValueError(f'expected from 1 to {MAX_REQUESTS} requests, or "off" for no limit')
    return Rate(int(match[1]), int(span.total_seconds()))


RateLimit = Annotated[Rate, BeforeValidator(parse_rate), ValueType('rate such as 3000/1m, or "off"')]
