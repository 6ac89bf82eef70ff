"""`flexportd dead`: the dead letters, events that gave up."""

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import click

from flexportd.cli.asking import Invocation, asks, lists
from flexportd.cli.client import Control, segment
from flexportd.cli.exits import Exit
from flexportd.cli.files import write_private
from flexportd.cli.output import Column, Output, by_importance
from flexportd.cli.payloads import show_payload
from flexportd.cli.words import ago, minute, plural
from flexportd.errors import NotFoundError

_AT_ONCE = 1000  # dead letters that one call to the daemon retries


@click.group()
def dead() -> None:
    """See events that gave up; retry, discard or export them."""


@dead.command("list")
@click.option("--type", help="Only this event type.")
@click.option("--error", help="Only this error, exactly as listed.")
@click.option("--discarded", is_flag=True, default=None, help="Those that were discarded instead.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@lists
@asks
def dead_list(daemon: Control, out: Output, *, everything: bool, **options: str | int | bool | None) -> None:
    """List the dead letters that nobody has discarded, newest first."""
    now = out.now()
    columns = by_importance(
        (
            Column("id", lambda row: row["id"], right=True),
            Column("event", lambda row: row["event_type"] or row["kind"], narrows=True),
            Column("shipment", lambda row: row["shipment_id"], right=True),
            Column("died", lambda row: ago(row["ended_at"], now)),
            Column("tries", lambda row: row["attempts"], right=True),
            Column("error", lambda row: row["error"], narrows=True),
        ),
        "id, error, event, shipment, died, tries",
    )
    out.listed(daemon.listed("/dead-letters", everything=everything, **options), columns, "No dead letters.")


@dead.command("show")
@click.argument("dead_id", metavar="ID")
@asks
def dead_show(daemon: Control, out: Output, dead_id: str) -> None:
    """Show one dead letter: every try with its error, and the payload."""
    out.shown(daemon.get(f"/dead-letters/{segment(dead_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, object]) -> None:
    discarded = found["discarded_at"] and f"{found['discarded_by']}: {found['discarded_why']}"
    out.facts(
        [
            ("dead letter", found["id"]),
            ("event", found["event_id"]),
            ("type", found["event_type"]),
            ("about", found["title"]),
            ("shipment", found["shipment_id"]),
            ("queued", minute(str(found["enqueued_at"]))),
            ("died", minute(str(found["ended_at"]))),
            ("discarded", discarded),
        ]
    )
    tries = found["tries"]
    out.heading("Tries")
    columns = (
        Column("at", lambda row: minute(row["at"])),
        Column("try", lambda row: row["attempt"], right=True),
        Column("error", lambda row: row["error"], narrows=True),
    )
    out.table(tries if isinstance(tries, list) else [], columns)
    show_payload(out, found)


@dead.command()
@click.argument("dead_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, or all that the filters match.")
@click.option("--type", help="With --all: only this event type.")
@click.option("--error", help="With --all: only this error, exactly as listed.")
@asks
def retry(
    daemon: Control, out: Output, dead_ids: tuple[str, ...], *, everything: bool, **filters: str | None
) -> int | None:
    """Try dead letters again from the start."""
    if everything == bool(dead_ids):
        raise click.UsageError("name one or more dead letters, or give --all", click.get_current_context())
    if any(filters.values()) and not everything:
        raise click.UsageError("--type and --error go with --all", click.get_current_context())
    if everything:
        _retry_all(daemon, out, filters)
        return None
    missing = 0
    for dead_id in dead_ids:
        try:
            reply = daemon.post(f"/dead-letters/{segment(dead_id)}/retry")
            out.shown(reply, lambda found: out.line(f"Dead letter {found['id']} is tried again."))
        except NotFoundError as error:
            missing += 1
            out.note(f"flexportd: {error}")
    return Exit.NOT_FOUND if missing else None


def _retry_all(daemon: Control, out: Output, filters: dict[str, str | None]) -> None:
    # What dies again at once would match again: no more than were dead at the start are tried.
    rounds = 1 + daemon.get("/queue").document["dead"] // _AT_ONCE
    for _ in range(rounds):
        reply = daemon.post("/dead-letters/retry", None, **filters)
        out.shown(reply, lambda found: out.line(f"{plural(found['retried'], 'dead letter')} tried again."))
        if not reply.document["more"]:
            return


@dead.command()
@click.argument("dead_id", metavar="ID")
@click.option("--why", required=True, help="A sentence that is kept with it.")
@asks
def discard(daemon: Control, out: Output, dead_id: str, why: str) -> None:
    """Close a dead letter for good; it is kept, with who and why."""
    reply = daemon.post(f"/dead-letters/{segment(dead_id)}/discard", {"why": why, "who": _who()})
    out.shown(reply, lambda found: out.line(f"Dead letter {found['id']} is discarded."))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@dead.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A file (0600) in place of the screen.")
@click.pass_obj
def export(invocation: Invocation, output: Path | None) -> None:
    """Write every dead letter with its payload, one JSON document a line.

    Discarded ones are included. A payload that is no JSON is in base64.
    """
    counted = _Counted(_letters(invocation.control))
    if output is None:
        out = Output.standard()
        for line in counted:
            out.json_line(line.rstrip(b"\n"))
    else:
        write_private(output, counted, replace=True)
    click.echo(f"{plural(counted.count, 'dead letter')} exported.", err=True)


class _Counted:
    """Lines, counted as they pass."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self._lines:
            self.count += 1
            yield line


def _letters(daemon: Control) -> Iterator[bytes]:
    for discarded in (False, True):
        ids = [row["id"] for page in daemon.pages("/dead-letters", discarded=discarded) for row in page["data"]]
        for dead_id in reversed(ids):
            with contextlib.suppress(NotFoundError):  # it was retried meanwhile
                raw = daemon.get(f"/dead-letters/{segment(dead_id)}").raw
                # A payload may be laid out over many lines; in JSON a line end is never part of a value.
                yield raw.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
