"""`flexportd exceptions`: freight that needs attention."""

import json
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option
from flexportd.cli.format import ago, format_time, humanize
from flexportd.cli.output import Column, Output

KINDS = (
    "late_pickup", "late_departure", "late_arrival", "late_delivery", "eta_slipped", "customs_hold",
    "free_time_expiring", "free_time_expired", "empty_return", "silent", "missing_documents", "invoice_overdue",
    "booking_unanswered", "flexport_reported",
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
    """List or show freight that needs attention."""


@exceptions.command("list")
@click.option("--kind", type=NearestChoice(KINDS), help="Limit to this kind.")
@click.option("--severity", type=NearestChoice(SEVERITIES), help="Limit to this severity.")
@click.option("--shipment", metavar="ID", help="Limit to this shipment.")
@click.option("--state", type=NearestChoice(STATES), help="Limit to this state (default: open).")
@click.option("--opened-after", metavar="TIME", help="Opened on or after this day or time.")
@click.option("--opened-before", metavar="TIME", help="Opened before this day or time.")
@limit_option
@daemon_command
def exceptions_list(daemon: DaemonClient, out: Output, **options: str | int | None) -> None:
    """List exceptions, newest first."""
    columns = list(COMMAND_COLUMNS["exceptions"])
    if options["state"]:
        closed = Column("closed", lambda row: row["closed_at"] and ago(row["closed_at"], out.now()), priority=8)
        columns.insert(-1, closed)
    nothing = NOTHING if any(options.values()) else "No open exceptions."
    out.show_list(daemon.get("/exceptions", **options), columns, nothing)


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
        ]
    )
    out.heading("Evidence")
    out.facts((humanize(name), _evidence_text(value)) for name, value in found["evidence"].items())


def _evidence_text(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return "; ".join(
        " ".join(str(part) for part in one.values()) if isinstance(one, dict) else json.dumps(one).strip('"')
        for one in value
    )
