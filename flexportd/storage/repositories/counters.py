"""Counters for operation: requests to Flexport, and webhook deliveries that were refused."""

from collections.abc import Iterable
from typing import Any

import msgspec

from flexportd.storage.statements import Repository

_SUMS = ("calls", "errors", "retries", "bytes", "seconds")

UsageKey = tuple[str, str, str]  # hour, purpose, resource
UsageTotals = tuple[int, int, int, int, float]


class ApiUsage(Repository):
    """Requests to Flexport by hour and purpose: reads and writes `api_calls`."""

    family = "counters"

    def add(self, usage: Iterable[tuple[UsageKey, UsageTotals]]) -> None:
        """Add to the totals."""
        self._raw.executemany(self._sql["add_usage"], [(*key, *totals) for key, totals in usage])

    def since(self, hour: str) -> dict[str, dict[str, Any]]:
        """The totals by purpose since an hour (the first 13 characters of a stamp)."""
        totals = {row[0]: dict(zip(_SUMS, row[1:], strict=True)) for row in self._run("usage_since", hour)}
        return {purpose: sums | {"seconds": round(sums["seconds"], 3)} for purpose, sums in totals.items()}

    def delete_before(self, before: str) -> int:
        """Delete hours before this one; how many rows."""
        return self._run("delete_usage", before).rowcount


class WebhookRefusal(msgspec.Struct, frozen=True):
    """How often deliveries were refused for one reason. Times are stamps; `last_path` is where the last one arrived."""

    reason: str
    count: int
    first_at: str
    last_at: str
    last_address: str
    last_path: str


class WebhookRefusals(Repository):
    """Reads and writes `webhook_refusals`."""

    family = "counters"

    def all(self) -> list[WebhookRefusal]:
        """Every reason, the last refused first."""
        return self._all(WebhookRefusal, "refusals")

    def put(self, refusals: Iterable[WebhookRefusal]) -> None:
        """Store the current counts of these reasons."""
        self._raw.executemany(self._sql["put_refusal"], map(msgspec.structs.astuple, refusals))
