"""`flexportd documents fetch|verify|export|upload`: the archived files of documents, and new ones for Flexport."""

import base64
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import Invocation, daemon_command
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import count_of, format_size, humanize
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.cli.progress import ProgressLine, poll, show_progress
from flexportd.cli.write_command import WriteOptions, send, shipment_number, write_options
from flexportd.errors import FlexportdError, InvalidError

_PAUSE_CHECK_EVERY = 40  # polls between checks for a paused queue
_BATCH = 50  # documents per request
_SHOWN = 20  # documents that are listed one by one

# Flexport's ids may begin with a dash: an argument that is not an option is an id.
_WITH_IDS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


def add_to(group: click.Group) -> None:
    """Add the commands to the group `documents`."""
    for command in (fetch, verify, export, upload):
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
    out.show(DaemonResponse.of(found), lambda result: _show_fetched(out, result, wait=wait))
    if found["unknown"]:
        return Exit.NOT_FOUND
    # With --all, files that the settings exclude are no failure.
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
    """The current file of each of these documents, once none of them is pending."""
    polls = itertools.count(1)
    for start in range(0, len(ids), _BATCH):
        batch = ",".join(ids[start : start + _BATCH])

        def read(batch: str = batch) -> list[dict[str, Any]]:
            pages = daemon.pages("/documents/files", document=batch, current=True)
            return [row for page in pages for row in page["data"]]

        def progress_text(rows: list[dict[str, Any]], start: int = start) -> str | None:
            pending = sum(row["state"] == "pending" for row in rows)
            if pending and next(polls) % _PAUSE_CHECK_EVERY == 0 and daemon.get("/queue").document["paused"]:
                raise FlexportdError("The queue is paused; run `flexportd queue resume` to continue")
            return f"{start + len(rows) - pending} of {count_of(len(ids), 'file')} done" if pending else None

        yield from poll(progress, read, progress_text)


def _show_fetched(out: Output, found: dict[str, Any], *, wait: bool) -> None:
    archived = f"; {count_of(len(found['present']), 'file')} already archived" if found["present"] else ""
    failed = found.get("files", [])
    if not (found["queued"] or found["present"] or found["refused"] or found["unknown"]):
        out.line("No files are missing.")
    elif wait:
        out.line(f"{count_of(len(found['queued']) - len(failed), 'file')} fetched{archived}.")
    else:
        out.line(f"{count_of(len(found['queued']), 'file')} queued for fetching{archived}.")
    notes = [f"{row['document_id']}: {humanize(row['state'])}: {row['error']}" for row in failed]
    notes += [f"{row['id']}: refused: {row['reason']}" for row in found["refused"]]
    notes += [f"{key}: no such document" for key in found["unknown"]]
    for sentence in notes[:_SHOWN]:
        out.note(f"flexportd: {sentence}")
    if len(notes) > _SHOWN:
        out.note(f"flexportd: {len(notes) - _SHOWN} more; use --json to show all")


@click.command()
@daemon_command
def verify(daemon: DaemonClient, out: Output) -> int | None:
    """Verify every archived file against its SHA-256 checksum.

    Damaged files are set aside; damaged and missing files are fetched again. Exit 1 if there are any. Files that
    belong to no document are listed and not changed.
    """
    daemon.post("/documents/verify")
    with show_progress("The verification continues. Run `flexportd documents verify` to see its result.") as progress:
        reply = poll(progress, lambda: daemon.get("/documents/verify"), _verify_progress)
    out.show(reply, lambda found: _show_verified(out, found))
    found = reply.document
    intact = found["state"] == "done" and not (found["missing"] or found["damaged"])
    return None if intact else Exit.FAILED


def _verify_progress(reply: DaemonResponse) -> str | None:
    is_running = reply.document["state"] == "running"
    return f"{count_of(reply.document['checked'], 'file')} checked" if is_running else None


def _show_verified(out: Output, found: dict[str, Any]) -> None:
    faults = [{**row, "what": what} for what in ("missing", "damaged") for row in found[what]]
    if faults:
        out.table(faults, _FAULTS)
    checked = count_of(found["checked"], "file")
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
    write_private(path, daemon.stream(f"/shipments/{quote_id(number)}/documents.zip"), replace=force)
    index = _index(path)
    missing = [row for row in index["documents"] if row["reason"] is not None]
    packed = sum(row["file"] is not None for row in index["documents"])
    click.echo(f"{path}: {count_of(packed, 'file')}, {count_of(len(index['documents']), 'document')}.", err=True)
    if not missing:
        return None
    for row in missing[:_SHOWN]:
        Output.standard().note(f"{row['document_id']} ({row['title']}): {row['reason']}")
    named = count_of(len(missing), "document has no file", "documents have no file")
    error = FlexportdError(f"{named}; see index.csv in the zip for the reasons")
    error.add_note(invocation.command_line(f"documents fetch --shipment {number} --wait"))
    raise error


def _index(path: Path) -> dict[str, Any]:
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as packed:
            found: dict[str, Any] = json.loads(packed.read("index.json"))
    except (BadZipFile, KeyError, ValueError) as error:
        raise FlexportdError(f"Cannot read back {path}: {error}") from error
    return found


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--shipment", metavar="ID", required=True, help="The shipment of the document.")
@click.option(
    "--type", "document_type", metavar="TYPE", required=True, help="Such as commercial_invoice, packing_list."
)
@click.option("--memo", metavar="TEXT", help="A note for Flexport.")
@click.option("--mime-type", metavar="TYPE", help="The media type (default: by the name and content of the file).")
@daemon_command
@write_options
def upload(
    daemon: DaemonClient,
    out: Output,
    path: Path,
    *,
    shipment: str,
    document_type: str,
    memo: str | None,
    mime_type: str | None,
    options: WriteOptions,
) -> int | None:
    """Upload a document of a shipment to Flexport, at most 20 MiB."""
    import mimetypes

    from flexportd.core.documents.file_types import HEAD_SIZE, media_type
    from flexportd.core.outbox.validation.documents import MAX_FILE_SIZE

    with path.open("rb") as file:
        content = file.read(MAX_FILE_SIZE + 1)
    if len(content) > MAX_FILE_SIZE:
        raise InvalidError(f"{path} is larger than {format_size(MAX_FILE_SIZE)}, which is allowed")
    if not content:
        raise InvalidError(f"{path} is empty")
    body = {
        "file_name": path.name,
        "mime_type": mime_type or media_type(mimetypes.guess_type(path.name)[0] or "", content[:HEAD_SIZE]),
        "document_type": document_type,
        "document": base64.b64encode(content).decode(),
        "shipment_id": shipment_number(daemon, shipment),
    }
    return send(daemon, out, "POST", "/documents", body if memo is None else {**body, "memo": memo}, options=options)


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
