"""`flexportd exceptions`: freight that needs attention, and what people do about it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option, local_user
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import ago, format_time, humanize
from flexportd.cli.output import Column, Output
from flexportd.errors import ConflictError, NotFoundError

KINDS = (
    "late_pickup", "late_departure", "late_arrival", "late_delivery", "eta_slipped", "customs_hold",
    "free_time_expiring", "free_time_expired", "empty_return", "silent", "missing_documents", "invoice_overdue",
    "booking_unanswered", "operation_unknown", "flexport_reported",
)  # fmt: skip
SEVERITIES = ("critical", "warning", "notice")
STATES = ("open", "closed", "all")

NOTHING = "No matches."


class _DefaultListGroup(click.Group):
    """Runs `list` if no command is given: `flexportd exceptions --kind silent`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, with the default command."""
        first = args[0] if args else ""
        if first not in ("-h", "--help") and (not first or first.startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_DefaultListGroup)
def exceptions() -> None:
    """List, show, acknowledge, assign or snooze freight that needs attention."""


@exceptions.command("list")
@click.option("--kind", type=NearestChoice(KINDS), help="Limit to this kind.")
@click.option("--severity", type=NearestChoice(SEVERITIES), help="Limit to this severity.")
@click.option("--shipment", metavar="ID", help="Limit to this shipment.")
@click.option("--state", type=NearestChoice(STATES), help="Limit to this state (default: open).")
@click.option("--acknowledged/--not-acknowledged", default=None, help="Limit to acknowledged ones, or to the others.")
@click.option("--assigned-to", metavar="NAME", help="Limit to those assigned to this person.")
@click.option("--snoozed/--not-snoozed", default=None, help="Limit to snoozed ones, or to the others.")
@click.option("--opened-after", metavar="TIME", help="Opened on or after this day or time.")
@click.option("--opened-before", metavar="TIME", help="Opened before this day or time.")
@limit_option
@daemon_command
def exceptions_list(daemon: DaemonClient, out: Output, **options: str | int | bool | None) -> None:
    """List exceptions, newest first."""
    columns = list(COMMAND_COLUMNS["exceptions"])
    if options["state"]:
        closed = Column("closed", lambda row: row["closed_at"] and ago(row["closed_at"], out.now()), priority=8)
        columns.insert(-1, closed)
    reply = daemon.get("/exceptions", **options)
    if not out.as_json and any(map(_state, reply.document["data"])):
        columns.insert(-1, Column("state", _state, narrows=True, priority=6))
    nothing = NOTHING if any(value is not None for value in options.values()) else "No open exceptions."
    out.show_list(reply, columns, nothing)


def _state(row: Mapping[str, Any]) -> str:
    """What people decided about an exception: `acknowledged, assigned to Maya, snoozed`."""
    states = {
        "acknowledged": row["acknowledged_at"],
        f"assigned to {row['assigned_to']}": row["assigned_to"],
        "snoozed": row["snoozed_at"],
    }
    return ", ".join(words for words, is_so in states.items() if is_so)


@exceptions.command("show")
@click.argument("exception_id", metavar="ID")
@daemon_command
def exceptions_show(daemon: DaemonClient, out: Output, exception_id: str) -> None:
    """Show one exception with its evidence."""
    out.show(daemon.get(f"/exceptions/{quote_id(exception_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, Any]) -> None:
    out.facts(
        [
            ("exception", found["id"]),
            ("kind", found["title"]),
            ("severity", found["severity"]),
            ("summary", found["summary"]),
            ("shipment", found["shipment_id"]),
            ("resource", f"{humanize(found['resource'])} {found['resource_id']}"),
            ("since", format_time(found["since"])),
            ("opened", format_time(found["opened_at"])),
            ("updated", format_time(found["updated_at"])),
            ("closed", format_time(found["closed_at"])),
            ("acknowledged", found["acknowledged_at"] and _done(found["acknowledged_at"], found["acknowledged_by"])),
            ("assigned to", found["assigned_to"]),
            ("snoozed", found["snoozed_at"] and _snooze_text(found)),
        ]
    )
    out.heading("Evidence")
    out.facts((humanize(name), _evidence_text(value)) for name, value in found["evidence"].items())
    if found["notes"]:
        out.heading("Notes")
        out.facts((_done(note["at"], note["by"]), note["text"]) for note in found["notes"])


def _done(at: str, by: str) -> str:
    return f"{format_time(at)} by {by}"


def _snooze_text(found: dict[str, Any]) -> str:
    """Until when a snoozed exception is snoozed."""
    until = found["snoozed_until"] and f"until {format_time(found['snoozed_until'])}"
    ends = " or ".join(filter(None, (until, "until it gets worse" if found["snoozed_until_worse"] else None)))
    return f"{ends}, by {found['snoozed_by']}"


def _evidence_text(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return "; ".join(
        " ".join(str(part) for part in one.values()) if isinstance(one, dict) else json.dumps(one).strip('"')
        for one in value
    )


@exceptions.command("ack")
@click.argument("exception_ids", metavar="ID...", nargs=-1, required=True)
@daemon_command
def acknowledge(daemon: DaemonClient, out: Output, exception_ids: tuple[str, ...]) -> int | None:
    """Acknowledge exceptions: you have seen them."""
    return _act(daemon, out, exception_ids, "acknowledge", lambda _: "acknowledged")


@exceptions.command("unack")
@click.argument("exception_ids", metavar="ID...", nargs=-1, required=True)
@daemon_command
def unacknowledge(daemon: DaemonClient, out: Output, exception_ids: tuple[str, ...]) -> int | None:
    """Take acknowledgements back."""
    return _act(daemon, out, exception_ids, "unacknowledge", lambda _: "no longer acknowledged")


@exceptions.command("assign")
@click.argument("exception_id", metavar="ID")
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--nobody", is_flag=True, help="Assign it to nobody.")
@daemon_command
def assign(daemon: DaemonClient, out: Output, exception_id: str, name: str | None, *, nobody: bool) -> int | None:
    """Assign an exception to a person."""
    if nobody == (name is not None):
        raise click.UsageError("Specify a NAME or --nobody.", click.get_current_context())
    words = f"assigned to {name or 'nobody'}"
    return _act(daemon, out, (exception_id,), "assign", lambda _: words, assigned_to=name)


@exceptions.command("note")
@click.argument("exception_id", metavar="ID")
@click.argument("text")
@daemon_command
def add_note(daemon: DaemonClient, out: Output, exception_id: str, text: str) -> int | None:
    """Add a note to an exception, open or closed."""
    return _act(daemon, out, (exception_id,), "note", lambda _: "has a new note", text=text)


@exceptions.command("snooze")
@click.argument("exception_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--until", metavar="TIME", help="Until this day or time, or for this long: 2026-03-01, 3d.")
@click.option("--until-worse", is_flag=True, help="Until it gets worse; with --until, until whichever is first.")
@daemon_command
def snooze(
    daemon: DaemonClient, out: Output, exception_ids: tuple[str, ...], until: str | None, *, until_worse: bool
) -> int | None:
    """Snooze exceptions: no notifications about them for some time."""
    if until is None and not until_worse:
        raise click.UsageError("Specify --until TIME, --until-worse or both.", click.get_current_context())
    body = {"until": until, "until_worse": until_worse}
    return _act(daemon, out, exception_ids, "snooze", lambda found: f"snoozed {_snooze_text(found)}", **body)


@exceptions.command("unsnooze")
@click.argument("exception_ids", metavar="ID...", nargs=-1, required=True)
@daemon_command
def unsnooze(daemon: DaemonClient, out: Output, exception_ids: tuple[str, ...]) -> int | None:
    """End the snooze of exceptions."""
    return _act(daemon, out, exception_ids, "unsnooze", lambda _: "no longer snoozed")


def _act(
    daemon: DaemonClient,
    out: Output,
    exception_ids: tuple[str, ...],
    action: str,
    words: Callable[[dict[str, Any]], str],
    **body: Any,
) -> int | None:
    """Do the same about each; those that do not exist, or are closed, do not keep the others from it."""
    failed: int | None = None
    for exception_id in exception_ids:
        try:
            reply = daemon.post(f"/exceptions/{quote_id(exception_id)}/{action}", {**body, "by": local_user()})
        except (NotFoundError, ConflictError) as error:
            if len(exception_ids) == 1:
                raise
            failed = failed or (Exit.NOT_FOUND if isinstance(error, NotFoundError) else Exit.FAILED)
            out.note(f"flexportd: {error}")
            continue
        out.show_line(reply, lambda found: f"Exception {found['id']} {words(found)}.")
    return failed
