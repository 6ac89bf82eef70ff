"""`flexportd events`: events from Flexport and their processing."""

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import Invocation, NearestChoice, daemon_command, limit_option
from flexportd.cli.format import ago, format_time
from flexportd.cli.output import Column, Output
from flexportd.cli.render import show_payload

STATES = ("ready", "applied", "coalesced", "ignored", "dead")


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
    columns = (
        Column("id", priority=1),
        Column("received", lambda row: ago(row["received_at"], out.now()), priority=5),
        Column("event", lambda row: row["title"], narrows=True, priority=2),
        Column("shipment", lambda row: row["shipment_id"], right=True, priority=4),
        Column("state", coloured=True, priority=3),
        Column("reason", narrows=True, priority=6),
    )
    out.show_list(daemon.get("/events", **options), columns, "No events.")


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
    from flexportd.cli.tail import Tail, follow

    follow(Tail(invocation.client), Output.standard(as_json=as_json), lines)
