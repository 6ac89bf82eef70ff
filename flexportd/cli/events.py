"""`flexportd events`: what Flexport sent, and what became of it."""

import click

from flexportd.cli.asking import Invocation, NearestChoice, asks, lists
from flexportd.cli.client import Control, segment
from flexportd.cli.output import Column, Output, by_importance
from flexportd.cli.payloads import show_payload
from flexportd.cli.words import ago, minute

STATES = ("ready", "applied", "coalesced", "ignored", "dead")


@click.group()
def events() -> None:
    """See what Flexport sent and what became of it."""


@events.command("list")
@click.option("--type", help="Only this event type, such as /shipment_leg#departed.")
@click.option("--state", type=NearestChoice(STATES), help="Only events in this state.")
@click.option("--shipment", metavar="ID", help="Only events of this shipment.")
@lists
@asks
def events_list(daemon: Control, out: Output, **options: str | int | None) -> None:
    """List events, newest first."""
    now = out.now()
    columns = by_importance(
        (
            Column("id", lambda row: row["id"]),
            Column("received", lambda row: ago(row["received_at"], now)),
            Column("event", lambda row: row["title"], narrows=True),
            Column("shipment", lambda row: row["shipment_id"], right=True),
            Column("state", lambda row: row["state"], coloured=True),
            Column("reason", lambda row: row["reason"], narrows=True),
        ),
        "id, event, state, shipment, received, reason",
    )
    out.listed(daemon.get("/events", **options), columns, "No events.")


@events.command("show")
@click.argument("event_id", metavar="ID")
@asks
def events_show(daemon: Control, out: Output, event_id: str) -> None:
    """Show one event: its state, every failed try, and the payload as it came."""
    out.shown(daemon.get(f"/events/{segment(event_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, str]) -> None:
    out.facts(
        [
            ("event", found["id"]),
            ("type", found["type"]),
            ("about", found["title"]),
            ("state", found["state"]),
            ("reason", found["reason"]),
            ("resource", " ".join(str(found[name]) for name in ("resource", "resource_id") if found[name])),
            ("shipment", found["shipment_id"]),
            ("source", found["source"]),
            ("occurred", minute(found["occurred_at"])),
            ("created", minute(found["created_at"])),
            ("received", minute(found["received_at"])),
            ("ended", minute(found["ended_at"])),
            ("dead letter", found["dead_letter"]),
        ]
    )
    for attempt in found["attempts"]:
        out.line(f"try {attempt['attempt']} at {minute(attempt['at'])}: {attempt['error']}")  # type: ignore[index]
    show_payload(out, found)


@events.command()
@click.argument("event_id", metavar="ID")
@asks
def replay(daemon: Control, out: Output, event_id: str) -> None:
    """Apply a kept event again; newer states stay."""
    reply = daemon.post(f"/events/{segment(event_id)}/replay")
    out.shown(reply, lambda found: out.line(f"Event {found['id']} is applied again."))


@events.command()
@click.option("--lines", type=click.IntRange(0, 200), default=10, show_default=True, help="How many to begin with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@click.pass_obj
def tail(invocation: Invocation, *, lines: int, as_json: bool) -> None:
    """Print events as they arrive, until Ctrl-C. Waits where the daemon restarts."""
    from flexportd.cli.tailing import Tail, follow

    follow(Tail(invocation.control), Output.standard(as_json=as_json), lines)
