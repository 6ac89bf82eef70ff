"""How often somebody may ask: a bucket for each key that fills evenly, and one for the failures of each address.

All in whole numbers (the generic cell rate algorithm), so that nothing drifts; all in memory and bounded.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flexportd.core.access.keys import Principal
from flexportd.errors import RefusedError
from flexportd.http.client_ip import client_at, site_of
from flexportd.settings import Rate

MAX_KEYS = 20_000  # more than there can be keys
MAX_ADDRESSES = 10_000
FAILURE_RATE = Rate(20, 60)  # wrong keys from one address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """What became of one request. `reset_seconds`: until all may be asked again; for a refused one, until one may."""

    allowed: bool
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int

    @property
    def sentence(self) -> str:
        """For who was refused."""
        return (
            f"This key has used all {self.limit} requests allowed per {self.window_seconds} s; "
            f"retry after {self.reset_seconds} s."
        )


class _TokenBuckets:
    """The fill of each bucket, by name; beyond `most` the one longest unused is forgotten, and so full again.

    What is kept is the time at which the bucket will be full, in microseconds times the rate's count.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._full_at: OrderedDict[str, tuple[Rate, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def acquire(self, name: str, rate: Rate, now: datetime) -> RateLimitResult:
        """Take one, if there is one."""
        at = (now - _EPOCH) // _TICK * rate.requests
        size = rate.seconds * _SECOND * rate.requests
        each = rate.seconds * _SECOND
        known, full_at = self._full_at.pop(name, (rate, at))
        # A rate that was changed begins anew; so does a clock that was set back far.
        full_at = max(full_at, at) if known == rate and full_at <= at + size else at
        allowed = full_at + each <= at + size
        if allowed:
            full_at += each
        self._full_at[name] = rate, full_at
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        lacking = full_at - at
        wait = lacking if allowed else full_at + each - size - at
        seconds = max(1, math.ceil(wait / (_SECOND * rate.requests)))
        return RateLimitResult(allowed, rate.requests, rate.seconds, (size - lacking) // each, seconds)


class KeyRateLimiter:
    """The rate of each key. Who needs no key is not limited."""

    def __init__(self, default: Callable[[], Rate]) -> None:
        """`default` is the rate of the settings, which may change while running."""
        self._default = default
        self._buckets = _TokenBuckets(MAX_KEYS)

    def acquire(self, viewer: Principal, now: datetime) -> RateLimitResult | None:
        """Count a request; None where there is no limit."""
        if viewer.key_id is None:
            return None
        rate = self._default() if viewer.rate is None else viewer.rate
        return self._buckets.acquire(viewer.key_id, rate, now) if rate.requests else None


class FailureLimiter:
    """Limits wrong keys by client address; a right key from the same address is accepted all the same."""

    def __init__(self) -> None:
        self._buckets = _TokenBuckets(MAX_ADDRESSES)

    def count(self, error: RefusedError, client: str, now: datetime) -> RefusedError:
        """The error to raise: the given one, or 429 after too many from this client (`peers.Client.name`)."""
        taken = self._buckets.acquire(_bucket_name(client), FAILURE_RATE, now)
        if taken.allowed:
            return error
        sentence = (
            f"More than {FAILURE_RATE.requests} wrong keys were sent from this address within {FAILURE_RATE.seconds} s."
        )
        return RefusedError(429, "too-many-invalid-keys", sentence, taken.reset_seconds)


def _bucket_name(client: str) -> str:
    """The bucket of a client (`peers.Client.name`): that of its site where it has an address."""
    address = client_at(client).address
    return client if address is None else str(site_of(address))
