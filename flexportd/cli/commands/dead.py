"""`flexportd dead`: dead letters, which are events and other work that failed permanently."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import Invocation, daemon_command, limit_option, local_user
from flexportd.cli.exit_codes import Exit
from flexportd.cli.files import write_private
from flexportd.cli.format import ago, count_of, format_time
from flexportd.cli.output import Column, Output
from flexportd.cli.render import show_payload
from flexportd.errors import NotFoundError

_RETRY_BATCH = 1000  # dead letters retried by one request


@click.group()
def dead() -> None:
    """List, retry, discard or export failed events and other work."""


@dead.command("list")
@click.option("--type", help="Limit to this event type.")
@click.option("--error", help="Limit to this error, exactly as listed.")
@click.option("--discarded", is_flag=True, default=None, help="List discarded dead letters instead.")
@click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")
@limit_option
@daemon_command
def dead_list(daemon: DaemonClient, out: Output, *, everything: bool, **options: str | int | bool | None) -> None:
    """List dead letters that are not discarded, newest first."""
    columns = (
        Column("id", right=True, priority=1),
        Column("event", lambda row: row["event_type"] or row["title"], narrows=True, priority=3),
        Column("shipment", lambda row: row["shipment_id"], right=True, priority=4),
        Column("failed", lambda row: ago(row["ended_at"], out.now()), priority=5),
        Column("attempts", right=True, priority=6),
        Column("error", narrows=True, priority=2),
    )
    out.show_list(daemon.get_list("/dead-letters", everything=everything, **options), columns, "No dead letters.")


@dead.command("show")
@click.argument("dead_id", metavar="ID")
@daemon_command
def dead_show(daemon: DaemonClient, out: Output, dead_id: str) -> None:
    """Show one dead letter with its failed attempts and payload."""
    out.show(daemon.get(f"/dead-letters/{quote_id(dead_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, object]) -> None:
    discarded = found["discarded_at"] and f"{found['discarded_by']}: {found['discard_reason']}"
    out.facts(
        [
            ("dead letter", found["id"]),
            ("event", found["event_id"]),
            ("delivery", found["delivery_id"]),
            ("type", found["event_type"]),
            ("title", found["title"]),
            ("shipment", found["shipment_id"]),
            ("queued", format_time(str(found["enqueued_at"]))),
            ("failed", format_time(str(found["ended_at"]))),
            ("discarded", discarded),
        ]
    )
    attempts = found["failed_attempts"]
    out.heading("Attempts")
    out.table(attempts if isinstance(attempts, list) else [], COMMAND_COLUMNS["failed attempts"])
    show_payload(out, found)


@dead.command()
@click.argument("dead_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Retry all, or all that match the filters.")
@click.option("--type", help="With --all: limit to this event type.")
@click.option("--error", help="With --all: limit to this error, exactly as listed.")
@daemon_command
def retry(
    daemon: DaemonClient, out: Output, dead_ids: tuple[str, ...], *, everything: bool, **filters: str | None
) -> int | None:
    """Retry dead letters."""
    if everything == bool(dead_ids):
        raise click.UsageError("Specify one or more dead letters, or --all.", click.get_current_context())
    if any(filters.values()) and not everything:
        raise click.UsageError("--type and --error require --all.", click.get_current_context())
    if everything:
        _retry_all(daemon, out, filters)
        return None
    missing = 0
    for dead_id in dead_ids:
        try:
            reply = daemon.post(f"/dead-letters/{quote_id(dead_id)}/retry")
            out.show_line(reply, lambda found: f"Dead letter {found['id']} queued for retry.")
        except NotFoundError as error:
            missing += 1
            out.note(f"flexportd: {error}")
    return Exit.NOT_FOUND if missing else None


def _retry_all(daemon: DaemonClient, out: Output, filters: dict[str, str | None]) -> None:
    # Items that fail again at once match again: retry no more than the initial number.
    rounds = 1 + daemon.get("/queue").document["dead"] // _RETRY_BATCH
    for _ in range(rounds):
        reply = daemon.post("/dead-letters/retry", None, **filters)
        out.show_line(reply, lambda found: f"{count_of(found['retried'], 'dead letter')} queued for retry.")
        if not reply.document["has_more"]:
            return


@dead.command()
@click.argument("dead_id", metavar="ID")
@click.option("--reason", required=True, help="Reason, kept with the dead letter.")
@daemon_command
def discard(daemon: DaemonClient, out: Output, dead_id: str, reason: str) -> None:
    """Discard a dead letter; it is kept with your name and the reason."""
    reply = daemon.post(f"/dead-letters/{quote_id(dead_id)}/discard", {"reason": reason, "discarded_by": local_user()})
    out.show_line(reply, lambda found: f"Dead letter {found['id']} discarded.")


@dead.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file (mode 0600) instead of standard output.",
)
@click.pass_obj
def export(invocation: Invocation, output: Path | None) -> None:
    """Export all dead letters with payloads, one JSON document per line.

    Discarded dead letters are included. Payloads that are not JSON are base64-encoded.
    """
    ordinals = itertools.count()  # counts the lines
    lines = (line for line, _ in zip(_export_lines(invocation.client), ordinals, strict=False))
    if output is None:
        out = Output.standard()
        for line in lines:
            out.json_line(line.rstrip(b"\n"))
    else:
        write_private(output, lines, replace=True)
    click.echo(f"{count_of(next(ordinals), 'dead letter')} exported.", err=True)


def _export_lines(daemon: DaemonClient) -> Iterator[bytes]:
    for discarded in (False, True):
        ids = [row["id"] for page in daemon.pages("/dead-letters", discarded=discarded) for row in page["data"]]
        for dead_id in reversed(ids):
            with contextlib.suppress(NotFoundError):  # retried in the meantime
                raw = daemon.get(f"/dead-letters/{quote_id(dead_id)}").raw
                # A payload may have several lines; in JSON a line end is never part of a value.
                yield raw.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
