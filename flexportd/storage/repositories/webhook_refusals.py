"""Webhook deliveries that were refused, by reason."""

import sqlite3
from collections.abc import Iterable

import msgspec

from flexportd.storage.named_sql import queries


class WebhookRefusal(msgspec.Struct, frozen=True):
    """How often deliveries were refused for one reason. Times are stamps; `last_path` is where the last one arrived."""

    reason: str
    count: int
    first_at: str
    last_at: str
    last_address: str
    last_path: str


class WebhookRefusals:
    """Reads and writes `webhook_refusals`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._sql = queries("webhook_refusals")

    def all(self) -> list[WebhookRefusal]:
        """Every reason, the last refused first."""
        return [WebhookRefusal(*row) for row in self._raw.execute(self._sql["all"])]

    def put(self, refusals: Iterable[WebhookRefusal]) -> None:
        """Store what is known of these reasons now."""
        self._raw.executemany(self._sql["put"], [msgspec.structs.astuple(one) for one in refusals])
