"""`flexportd documents fetch|verify|export`: the files of documents, and the archive that keeps them."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import Invocation, daemon_command
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import format_size, humanize, plural
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.cli.progress import ProgressLine, show_progress
from flexportd.errors import FlexportdError

if TYPE_CHECKING:
    from http.client import HTTPResponse

_POLL_INTERVAL = 0.25  # seconds between looks at what is waited for
_PAUSE_CHECK_EVERY = 40  # looks between questions whether anything runs at all
_BATCH = 50  # documents in one question
_CHUNK = 256 << 10
_SHOWN = 20  # documents that are told of one by one

# Flexport's ids may begin with a dash: what is no option is an id.
_WITH_IDS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


def add_to(group: click.Group) -> None:
    """Add the commands to the group `documents`."""
    for command in (fetch, verify, export):
        group.add_command(command)


@click.command(context_settings=_WITH_IDS)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--shipment", metavar="ID", help="Fetch the files of this shipment.")
@click.option("--all", "everything", is_flag=True, help="Fetch every missing file that [documents] allows.")
@click.option("--wait", is_flag=True, help="Wait until every file is fetched or has failed; exit 1 if any failed.")
@daemon_command
def fetch(
    daemon: DaemonClient, out: Output, ids: tuple[str, ...], *, shipment: str | None, everything: bool, wait: bool
) -> int | None:
    """Fetch the files of documents into the archive.

    Files requested by ID or shipment are archived even if [documents] archive is off or types excludes them.
    """
    context = click.get_current_context()
    for given in ids:
        if given.startswith("--"):
            raise click.NoSuchOption(given, ctx=context)
    if bool(ids) + (shipment is not None) + everything != 1:
        raise click.UsageError("Specify one or more documents, --shipment or --all.", context)
    found = _request_files(daemon, _bodies(ids, shipment, everything=everything))
    if wait:
        with show_progress("The files are still being fetched in the background.") as progress:
            rows = list(_wait_for_files(daemon, found["queued"], progress))
        found["files"] = [row for row in rows if row["state"] != "fetched"]
    out.show(DaemonResponse(json.dumps(found).encode()), lambda told: _show_fetched(out, told, wait=wait))
    if found["unknown"]:
        return Exit.NOT_FOUND
    # With --all, what the settings leave out is no failure.
    return Exit.FAILED if found.get("files") or (found["refused"] and not everything) else None


def _bodies(ids: Sequence[str], shipment: str | None, *, everything: bool) -> Iterator[dict[str, Any]]:
    if everything:
        yield {"all": True}
    elif shipment is not None:
        yield {"shipment": shipment}
    for start in range(0, len(ids), _BATCH):
        yield {"ids": list(ids[start : start + _BATCH])}


def _request_files(daemon: DaemonClient, bodies: Iterator[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"queued": [], "present": [], "refused": [], "unknown": []}
    for body in bodies:
        after: str | None = ""
        while after is not None:
            found = daemon.post("/documents/fetch", {**body, "after": after}).document
            for name in ("queued", "present", "refused", "unknown"):
                total[name] += found[name]
            after = found["next"]
    return total


def _wait_for_files(daemon: DaemonClient, ids: Sequence[str], progress: ProgressLine) -> Iterator[dict[str, Any]]:
    """The present file of each of these documents, once none of them is under way."""
    looks = 0
    for start in range(0, len(ids), _BATCH):
        some = ",".join(ids[start : start + _BATCH])
        while True:
            pages = daemon.pages("/documents/files", document=some, current=True)
            rows: list[dict[str, Any]] = [row for page in pages for row in page["data"]]
            left = sum(row["state"] == "pending" for row in rows)
            if not left:
                yield from rows
                break
            progress.show(f"{start + len(rows) - left} of {plural(len(ids), 'file')} done")
            looks += 1
            if looks % _PAUSE_CHECK_EVERY == 0 and daemon.get("/queue").document["paused"]:
                raise FlexportdError("The queue is paused; run `flexportd queue resume` to continue")
            time.sleep(_POLL_INTERVAL)


def _show_fetched(out: Output, found: dict[str, Any], *, wait: bool) -> None:
    here = f"; {plural(len(found['present']), 'file')} already archived" if found["present"] else ""
    failed = found.get("files", [])
    if not (found["queued"] or found["present"] or found["refused"] or found["unknown"]):
        out.line("No files are missing.")
    elif wait:
        out.line(f"{plural(len(found['queued']) - len(failed), 'file')} fetched{here}.")
    else:
        out.line(f"{plural(len(found['queued']), 'file')} queued for fetching{here}.")
    told = [f"{row['document_id']}: {humanize(row['state'])}: {row['error']}" for row in failed]
    told += [f"{row['id']}: refused: {row['reason']}" for row in found["refused"]]
    told += [f"{key}: no such document" for key in found["unknown"]]
    for sentence in told[:_SHOWN]:
        out.note(f"flexportd: {sentence}")
    if len(told) > _SHOWN:
        out.note(f"flexportd: {len(told) - _SHOWN} more; use --json to show all")


@click.command()
@daemon_command
def verify(daemon: DaemonClient, out: Output) -> int | None:
    """Verify every archived file against its SHA-256 checksum.

    Damaged files are set aside; damaged and missing files are fetched again. Exit 1 if there are any. Files that
    belong to no document are listed and not changed.
    """
    reply = daemon.post("/documents/verify")
    with show_progress("The verification continues. Run `flexportd documents verify` to see its result.") as progress:
        while reply.document["state"] == "running":
            progress.show(f"{plural(reply.document['checked'], 'file')} checked")
            time.sleep(_POLL_INTERVAL)
            reply = daemon.get("/documents/verify")
    out.show(reply, lambda found: _show_verified(out, found))
    found = reply.document
    sound = found["state"] == "done" and not (found["missing"] or found["damaged"])
    return None if sound else Exit.FAILED


def _show_verified(out: Output, found: dict[str, Any]) -> None:
    faults = [{**row, "what": what} for what in ("missing", "damaged") for row in found[what]]
    if faults:
        out.table(faults, _FAULTS)
    checked = plural(found["checked"], "file")
    out.line(
        f"{checked} checked ({format_size(found['bytes'])}): {found['intact']} intact, "
        f"{len(faults)} missing or damaged."
    )
    for name, what in _FINDINGS.items():
        for path in found[name][:_SHOWN]:
            out.note(f"{path} {what}")
    if found["omitted"]:
        out.note(f"{found['omitted']} more findings are not listed.")
    if found["error"]:
        out.note(f"flexportd: Verification stopped early: {found['error']}")


@click.command()
@click.option("--shipment", metavar="ID", required=True, help="Export the files of this shipment.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Output file (default: FLEX-<ID>-documents.zip)."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.pass_obj
def export(invocation: Invocation, shipment: str, output: Path | None, *, force: bool) -> int | None:
    """Export the archived files of a shipment as a zip (mode 0600).

    The zip includes an index of all documents. Exit 1 if the file of a document is missing; the index gives the
    reason.
    """
    from flexportd.cli.files import write_private

    number = shipment.strip()
    daemon = invocation.client
    number = str(daemon.get(f"/shipments/{quote_id(number)}", fields="id").document["id"])  # whether there is one
    path = output or Path(f"FLEX-{number}-documents.zip")
    write_private(path, _zip(daemon, number), replace=force)
    index = _index(path)
    missing = [row for row in index["documents"] if row["reason"] is not None]
    packed = sum(row["file"] is not None for row in index["documents"])
    click.echo(f"{path}: {plural(packed, 'file')}, {plural(len(index['documents']), 'document')}.", err=True)
    if not missing:
        return None
    for row in missing[:_SHOWN]:
        Output.standard().note(f"{row['document_id']} ({row['title']}): {row['reason']}")
    named = plural(len(missing), "document has no file", "documents have no file")
    error = FlexportdError(f"{named}; see index.csv in the zip for the reasons")
    error.add_note(invocation.command_line(f"documents fetch --shipment {number} --wait"))
    raise error


def _zip(daemon: DaemonClient, number: str) -> Iterator[bytes]:
    """The bytes of the zip, as they come. Raises FlexportdError where it is broken off."""
    from http.client import HTTPException

    from flexportd.cli.connections import UnixConnection

    connection = UnixConnection(daemon.path, daemon.timeout)
    try:
        connection.request(
            "GET", f"/api/v1/shipments/{quote_id(number)}/documents.zip", headers={"Connection": "close"}
        )
        answer = connection.getresponse()
        if answer.status != 200:
            raise FlexportdError(_detail(answer))
        while piece := answer.read(_CHUNK):
            yield piece
    except (OSError, HTTPException) as error:
        raise FlexportdError(f"The download of the zip was interrupted: {error or type(error).__name__}") from error
    finally:
        connection.close()


def _detail(answer: "HTTPResponse") -> str:
    """What a problem document tells."""
    try:
        return str(json.loads(answer.read(1 << 20))["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The daemon responded with HTTP status {answer.status}"


def _index(path: Path) -> dict[str, Any]:
    """The index of a zip that was just written."""
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as packed:
            found: dict[str, Any] = json.loads(packed.read("index.json"))
    except (BadZipFile, KeyError, ValueError) as error:
        raise FlexportdError(f"Cannot read back {path}: {error}") from error
    return found


_FINDINGS = {
    "orphans": "belongs to no document",
    "quarantined": "is damaged and was set aside",
    "unexpected": "is not a regular file",
}
_FAULTS = (
    Column("what", lambda row: row["what"]),
    Column("documents", lambda row: ", ".join(row["documents"]), priority=1),
    Column("sha256", lambda row: row["sha256"]),
)
