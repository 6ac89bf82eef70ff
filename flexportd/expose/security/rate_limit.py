"""Rate limits: a token bucket per key, and one for the invalid keys from each address.

In whole numbers (the generic cell rate algorithm), so that nothing drifts; in memory and bounded.
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
FAILURE_RATE = Rate(20, 60)  # invalid keys from one address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """The result for one request. `reset_seconds`: until the bucket is full; for a refused request, until the next."""

    allowed: bool
    limit: int
    window_seconds: int
    remaining: int
    reset_seconds: int

    @property
    def sentence(self) -> str:
        """The error for a refused request."""
        return (
            f"This key has used all {self.limit} requests allowed per {self.window_seconds} s; "
            f"retry after {self.reset_seconds} s."
        )


class _TokenBuckets:
    """Token buckets by name; beyond `most` the least recently used is dropped, and so full again.

    The state of a bucket is the time when it will be full, in microseconds times the rate's count.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._full_at: OrderedDict[str, tuple[Rate, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def acquire(self, name: str, rate: Rate, now: datetime) -> RateLimitResult:
        """Take a token if there is one."""
        at = (now - _EPOCH) // _TICK * rate.requests
        size = rate.seconds * _SECOND * rate.requests
        each = rate.seconds * _SECOND
        known, full_at = self._full_at.pop(name, (rate, at))
        # After a change of the rate the bucket starts full, and so it does when the clock was set back far.
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
    """Limits requests by key; callers without a key are not limited."""

    def __init__(self, default: Callable[[], Rate]) -> None:
        """`default` returns the configured rate, which may change while running."""
        self._default = default
        self._buckets = _TokenBuckets(MAX_KEYS)

    def acquire(self, principal: Principal, now: datetime) -> RateLimitResult | None:
        """Count a request; None if there is no limit."""
        if principal.key_id is None:
            return None
        rate = self._default() if principal.rate is None else principal.rate
        return self._buckets.acquire(principal.key_id, rate, now) if rate.requests else None


class FailureLimiter:
    """Limits invalid keys by client address; a valid key from the same address is still accepted."""

    def __init__(self) -> None:
        self._buckets = _TokenBuckets(MAX_ADDRESSES)

    def count(self, error: RefusedError, client: str, now: datetime) -> RefusedError:
        """The error to raise: the given one, or 429 after too many from this client (`RemoteClient.name`)."""
        taken = self._buckets.acquire(_bucket_name(client), FAILURE_RATE, now)
        if taken.allowed:
            return error
        sentence = (
            f"More than {FAILURE_RATE.requests} wrong keys were sent from this address within {FAILURE_RATE.seconds} s."
        )
        return RefusedError(429, "too-many-invalid-keys", sentence, taken.reset_seconds)


def _bucket_name(client: str) -> str:
    """The bucket of a client (`RemoteClient.name`): that of its network (`site_of`) if it has an address."""
    address = client_at(client).address
    return client if address is None else str(site_of(address))
