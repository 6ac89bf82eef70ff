"""`flexportd events`: events from Flexport and their processing."""

import json
import sys
import time
from collections import deque
from datetime import datetime, timedelta
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import Invocation, NearestChoice, daemon_command, limit_option
from flexportd.cli.format import format_time, humanize
from flexportd.cli.output import Output, reader_is_gone
from flexportd.cli.render import show_payload
from flexportd.errors import NotRunningError, UnavailableError

STATES = ("ready", "applied", "coalesced", "ignored", "dead")
_INTERVAL = 1.0
_PAGE = 200
_PAGES = 5  # read by one poll at most: a burst is not printed completely
_MARGIN = timedelta(seconds=10)  # events may be committed in another order than received
_MAX_SEEN = 5000

Event = dict[str, Any]


@click.group()
def events() -> None:
    """List, show, replay or follow events from Flexport."""


@events.command("list")
@click.option("--type", help="Limit to this event type, such as /shipment_leg#departed.")
@click.option("--state", type=NearestChoice(STATES), help="Limit to this state.")
@click.option("--shipment", metavar="ID", help="Limit to this shipment.")
@limit_option
@daemon_command
def events_list(daemon: DaemonClient, out: Output, **options: str | int | None) -> None:
    """List events, newest first."""
    out.show_list(daemon.get("/events", **options), COMMAND_COLUMNS["events"], "No events.")


@events.command("show")
@click.argument("event_id", metavar="ID")
@daemon_command
def events_show(daemon: DaemonClient, out: Output, event_id: str) -> None:
    """Show one event with its state, failed attempts and payload."""
    out.show(daemon.get(f"/events/{quote_id(event_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, str]) -> None:
    out.facts(
        [
            ("event", found["id"]),
            ("type", found["type"]),
            ("title", found["title"]),
            ("state", found["state"]),
            ("reason", found["reason"]),
            ("resource", " ".join(str(found[name]) for name in ("resource", "resource_id") if found[name])),
            ("shipment", found["shipment_id"]),
            ("source", found["source"]),
            ("occurred", format_time(found["occurred_at"])),
            ("created", format_time(found["created_at"])),
            ("received", format_time(found["received_at"])),
            ("processed", format_time(found["ended_at"])),
            ("dead letter", found["dead_letter"]),
        ]
    )
    for attempt in found["failed_attempts"]:
        out.line(f"Attempt {attempt['attempt']} at {format_time(attempt['at'])}: {attempt['error']}")  # type: ignore[index]
    show_payload(out, found)


@events.command()
@click.argument("event_id", metavar="ID")
@daemon_command
def replay(daemon: DaemonClient, out: Output, event_id: str) -> None:
    """Apply a stored event again; newer data is kept."""
    reply = daemon.post(f"/events/{quote_id(event_id)}/replay")
    out.show_line(reply, lambda found: f"Event {found['id']} queued for replay.")


@events.command()
@click.option(
    "--lines", type=click.IntRange(0, 200), default=10, show_default=True, help="Number of recent events to show first."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per line.")
@click.pass_obj
def tail(invocation: Invocation, *, lines: int, as_json: bool) -> None:
    """Follow events as they arrive.

    Press Ctrl-C to stop. Continues after a restart of the daemon.
    """
    follow(Tail(invocation.client), Output.standard(as_json=as_json), lines)


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
