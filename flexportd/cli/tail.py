"""Follows the daemon's list of events: with bounded memory, and across restarts."""

import json
import sys
import time
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from flexportd.cli.client import DaemonClient
from flexportd.cli.format import humanize
from flexportd.cli.output import Output, reader_is_gone
from flexportd.errors import NotRunningError, UnavailableError

_INTERVAL = 1.0
_PAGE = 200
_PAGES = 5  # read by one poll at most: a burst is not printed completely
_MARGIN = timedelta(seconds=10)  # events may be committed in another order than received
_MAX_SEEN = 5000

Event = dict[str, Any]


class Tail:
    """Finds new events."""

    def __init__(self, daemon: DaemonClient) -> None:
        self._daemon = daemon
        self._seen: deque[str] = deque(maxlen=_MAX_SEEN)
        self._newest: str | None = None
        self.skipped = False

    def latest(self) -> list[Event]:
        """The newest events, oldest first; `poll` does not return them again."""
        return self._unseen(self._page().document["data"])

    def poll(self) -> list[Event]:
        """New events, oldest first; `skipped` is set if there were more than one poll reads."""
        since = None if self._newest is None else _with_margin(self._newest)
        found: list[Event] = []
        cursor = None
        for _ in range(_PAGES):
            page = self._page(received_since=since, cursor=cursor).document
            found += page["data"]
            cursor = page["next"]
            if cursor is None or any(row["id"] in self._seen for row in page["data"]):
                cursor = None
                break
        self.skipped = cursor is not None
        return self._unseen(found)

    def _page(self, **parameters: str | None) -> Any:
        return self._daemon.get("/events", limit=min(_PAGE, self._daemon.most_rows), **parameters)

    def _unseen(self, rows: list[Event]) -> list[Event]:
        fresh = [row for row in reversed(rows) if row["id"] not in self._seen]
        self._seen.extend(row["id"] for row in fresh)
        for row in fresh:
            self._newest = max(self._newest or "", row["received_at"])
        return fresh


def _with_margin(stamp: str) -> str:
    return (datetime.fromisoformat(stamp) - _MARGIN).isoformat().replace("+00:00", "Z")


def follow(tail: Tail, out: Output, lines: int, interval: float = _INTERVAL) -> None:
    """Print events until interrupted, or until the reader closes the pipe (BrokenPipeError).

    Raises NotRunningError only if the daemon does not run at the start.
    """
    present = tail.latest()
    for event in present[len(present) - lines :] if lines < len(present) else present:
        _print(out, event)
    away = False
    while True:
        sys.stdout.flush()
        time.sleep(interval)
        if reader_is_gone(sys.stdout):
            raise BrokenPipeError
        try:
            found = tail.poll()
        except (NotRunningError, UnavailableError):
            if not away:
                out.note("flexportd: The daemon stopped; waiting for it to restart")
            away = True
            continue
        if away:
            out.note("flexportd: The daemon is running again")
            away = False
        if tail.skipped:
            out.note("flexportd: Too many events to show; the oldest were skipped")
        for event in found:
            _print(out, event)


def _print(out: Output, event: Event) -> None:
    if out.as_json:
        out.json_line(json.dumps(event, separators=(",", ":")).encode())
        return
    about = f"FLEX-{event['shipment_id']}" if event["shipment_id"] else humanize(event["resource"])
    at = f"{event['received_at'][:10]} {event['received_at'][11:19]}Z"
    out.line("  ".join(filter(None, (at, event["id"], event["state"], about, event["title"], event["reason"]))))
