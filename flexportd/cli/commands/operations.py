"""`flexportd operations`: writes to Flexport, and what people decide about them."""

import json
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option
from flexportd.cli.exit_codes import Exit, exit_of
from flexportd.cli.format import format_time, humanize
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.cli.write_command import actor_header, outcome_sentence
from flexportd.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError

STATES = ("awaiting_approval", "pending", "sending", "confirmed", "failed", "unknown", "cancelled")


@click.group()
def operations() -> None:
    """List writes to Flexport; approve, retry, cancel or resolve them."""


@operations.command("list")
@click.option("--state", type=NearestChoice(STATES), help="Limit to this state.")
@click.option("--kind", metavar="KIND", help="Limit to this kind, such as booking.create.")
@click.option("--shipment", metavar="ID", help="Limit to this shipment.")
@click.option(
    "--needs-decision/--no-needs-decision",
    default=None,
    help="Limit to those that a person must decide, or exclude them.",
)
@click.option("--created-by", metavar="NAME", help="Limit to those that this key or user created.")
@click.option("--created-after", metavar="TIME", help="Created on or after this day or time.")
@click.option("--created-before", metavar="TIME", help="Created before this day or time.")
@click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")
@limit_option
@daemon_command
def operations_list(daemon: DaemonClient, out: Output, *, everything: bool, **filters: str | int | bool | None) -> None:
    """List writes to Flexport, newest first."""
    reply = daemon.get_list("/operations", everything=everything, **filters)
    out.show_list(reply, COMMAND_COLUMNS["operations"], "No operations.")


@operations.command("show")
@click.argument("operation_id", metavar="ID")
@daemon_command
def operations_show(daemon: DaemonClient, out: Output, operation_id: str) -> None:
    """Show one operation with its body, its attempts, and what people did."""
    out.show(daemon.get(f"/operations/{quote_id(operation_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, Any]) -> None:
    out.facts(
        [
            ("operation", found["id"]),
            ("write", found["title"]),
            ("kind", found["kind"]),
            ("state", humanize(found["state"])),
            ("needs decision", found["needs_decision"] or None),
            ("error", found["error"]),
            ("object", found["resource_id"] and f"{humanize(found['kind'].partition('.')[0])} {found['resource_id']}"),
            ("shipment", found["shipment_id"]),
            ("pending at Flexport", found["pending_at_flexport"]),
            ("created", f"{format_time(found['created_at'])} by {found['created_by']}"),
            ("approved", found["approved_at"] and f"{format_time(found['approved_at'])} by {found['approved_by']}"),
            ("ended", format_time(found["ended_at"])),
            ("sent", found["sends"] or None),
            ("reason", found["reason"]),
        ]
    )
    out.heading("Body")
    for line in json.dumps(found["body"], indent=2, ensure_ascii=False).split("\n"):
        out.line(line)
    for name, rows, columns in (
        ("Attempts", found["attempts"], COMMAND_COLUMNS["operation attempts"]),
        ("Actions", found["audit"], COMMAND_COLUMNS["audit"]),
    ):
        if rows:
            out.heading(name)
            out.table(rows, columns)
    evidence = [
        {**one, "looked_up": row["started_at"]}
        for row in found["attempts"]
        if row["type"] == "lookup" and isinstance(row["response"], list)
        for one in row["response"]
    ]
    if evidence:
        out.heading("Evidence")
        out.table(evidence, _EVIDENCE)


_EVIDENCE = (
    Column("object", lambda row: row["id"]),
    Column("matches", priority=1),
    Column("note", narrows=True, priority=2),
    Column("looked up", lambda row: format_time(row["looked_up"]), priority=3),
)


_IDS = click.argument("operation_ids", metavar="ID...", nargs=-1, required=True)


@operations.command("approve")
@_IDS
@daemon_command
def approve(daemon: DaemonClient, out: Output, operation_ids: tuple[str, ...]) -> int | None:
    """Approve operations that somebody else created, so that they are sent."""
    return _act_on_each(daemon, out, operation_ids, "approve")


@operations.command("retry")
@_IDS
@daemon_command
def retry(daemon: DaemonClient, out: Output, operation_ids: tuple[str, ...]) -> int | None:
    """Send operations again that failed or were cancelled; look up unknown ones now."""
    return _act_on_each(daemon, out, operation_ids, "retry")


@operations.command("cancel")
@_IDS
@click.option("--reason", required=True, metavar="TEXT", help="Reason, kept with each operation.")
@daemon_command
def cancel(daemon: DaemonClient, out: Output, operation_ids: tuple[str, ...], reason: str) -> int | None:
    """Cancel operations that were not sent."""
    return _act_on_each(daemon, out, operation_ids, "cancel", {"reason": reason})


@operations.command("resolve")
@click.argument("operation_id", metavar="ID")
@click.option("--confirmed-as", metavar="ID", help="Flexport has it: the ID of the object there.")
@click.option("--resend", is_flag=True, help="Flexport does not have it: send it again.")
@click.option("--cancel", "is_cancelled", is_flag=True, help="Give it up.")
@click.option("--reason", required=True, metavar="TEXT", help="How you know, kept with the operation.")
@daemon_command
def resolve(
    daemon: DaemonClient,
    out: Output,
    operation_id: str,
    *,
    confirmed_as: str | None,
    resend: bool,
    is_cancelled: bool,
    reason: str,
) -> None:
    """Decide what became of an operation with an unknown outcome.

    Look into Flexport first: with --resend, what is there already is made a second time.
    """
    if (confirmed_as is not None) + resend + is_cancelled != 1:
        raise click.UsageError(
            "Specify exactly one of --confirmed-as ID, --resend and --cancel.", click.get_current_context()
        )
    action = "resend" if resend else "cancel" if is_cancelled else "confirm"
    body = {"action": action, "reason": reason} | ({} if confirmed_as is None else {"confirmed_as": confirmed_as})
    _act(daemon, out, operation_id, "resolve", body)


def _act_on_each(
    daemon: DaemonClient, out: Output, operation_ids: tuple[str, ...], action: str, body: dict[str, Any] | None = None
) -> int | None:
    """Act on each operation, also after an error of one of several; the exit code. Raises the error of a single one."""
    if len(operation_ids) == 1:
        _act(daemon, out, operation_ids[0], action, body)
        return None
    codes: set[Exit] = set()
    for operation_id in dict.fromkeys(operation_ids):
        try:
            _act(daemon, out, operation_id, action, body)
        except (ConflictError, ForbiddenError, InvalidError, NotFoundError) as error:
            codes.add(exit_of(error))
            out.note(f"flexportd: operation {operation_id}: {error}")
    return codes.pop() if len(codes) == 1 else Exit.FAILED if codes else None


def _act(
    daemon: DaemonClient, out: Output, operation_id: str, action: str, body: dict[str, Any] | None = None
) -> DaemonResponse:
    reply = daemon.write("POST", f"/operations/{quote_id(operation_id)}/{action}", body, actor_header())
    out.show_line(reply, outcome_sentence)
    return reply
