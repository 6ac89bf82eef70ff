"""Commands that create operations: their options, the request, and the outcome for people."""

import functools
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import Command, local_user
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import humanize
from flexportd.cli.output import DaemonResponse, Output
from flexportd.cli.progress import poll, show_progress
from flexportd.errors import UnavailableError

DEFAULT_WAIT = 20.0  # seconds
MAX_WAIT = 3600


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """The options of a command that creates an operation."""

    is_dry_run: bool
    idempotency_key: str | None
    wait: float


def write_options(command: Command) -> Command:
    """Add `--dry-run`, `--idempotency-key` and `--wait`, passed to the command as `options`."""

    @click.option("--dry-run", is_flag=True, help="Check it and show what would be sent to Flexport; send nothing.")
    @click.option("--idempotency-key", metavar="KEY", help="Name of this write; one name is never sent twice.")
    @click.option(
        "--wait",
        type=click.FloatRange(0, MAX_WAIT),
        default=DEFAULT_WAIT,
        metavar="SECONDS",
        help=f"How long to wait for the outcome (default: {DEFAULT_WAIT:g}; 0: not at all).",
    )
    @functools.wraps(command)
    def with_options(*arguments: Any, dry_run: bool, idempotency_key: str | None, wait: float, **others: Any) -> Any:
        return command(*arguments, options=WriteOptions(dry_run, idempotency_key, wait), **others)

    return with_options


def actor_header() -> dict[str, str]:
    """The header that tells the daemon who acts."""
    name = local_user().encode("ascii", "backslashreplace").decode()
    return {"X-Flexportd-By": "".join(char for char in name if char.isprintable())[:200]}


def send(
    daemon: DaemonClient, out: Output, method: str, path: str, body: Mapping[str, Any], *, options: WriteOptions
) -> int | None:
    """Create an operation and show its outcome, or show what would be sent; the exit code."""
    if options.is_dry_run:
        reply = daemon.write(method, path, body, actor_header(), dry_run=True)
        out.show(reply, lambda found: _show_preview(out, found))
        return None
    reply = create_operation(daemon, method, path, body, options)
    return show_outcome(daemon, out, reply, options.wait)


def create_operation(
    daemon: DaemonClient, method: str, path: str, body: Mapping[str, Any], options: WriteOptions
) -> DaemonResponse:
    """Create an operation. With a lost response, the error tells how to repeat the command safely."""
    key = options.idempotency_key or f"cli-{secrets.token_hex(8)}"
    try:
        return daemon.write(method, path, body, {**actor_header(), "Idempotency-Key": key})
    except UnavailableError as error:
        error.add_note(f"the same command with --idempotency-key {key}, which finds the operation if there is one")
        raise


def show_outcome(daemon: DaemonClient, out: Output, reply: DaemonResponse, wait: float) -> int | None:
    """Wait for the outcome of an operation and show it; the exit code."""
    number = reply.document["id"]
    if wait > 0 and is_under_way(reply.document):
        with show_progress(f"The operation continues. Run `flexportd operations show {number}`.") as progress:
            until = time.monotonic() + wait
            reply = poll(progress, lambda: daemon.get(f"/operations/{quote_id(number)}"), _progress_until(until))
    out.show_line(reply, outcome_sentence)
    return Exit.FAILED if reply.document["state"] in ("failed", "unknown", "cancelled") else None


def _progress_until(until: float) -> Callable[[DaemonResponse], str | None]:
    def progress_text(reply: DaemonResponse) -> str | None:
        if not is_under_way(reply.document) or time.monotonic() >= until:
            return None
        return f"Operation {reply.document['id']}: {humanize(reply.document['state'])}"

    return progress_text


def is_under_way(operation: Mapping[str, Any]) -> bool:
    """Whether the outcome of an operation is still to come without a person."""
    return operation["state"] in ("pending", "sending") or is_looked_up(operation)


def is_looked_up(operation: Mapping[str, Any]) -> bool:
    """Whether the outcome is unknown and more look-ups follow."""
    return operation["state"] == "unknown" and not operation["needs_decision"]


def outcome_sentence(operation: Mapping[str, Any]) -> str:
    """The state of an operation in one sentence."""
    state, number, error = operation["state"], operation["id"], operation["error"]
    named = f"Operation {number} ({operation['title']})"
    because = f": {error.rstrip('.')}." if error else "."
    if state == "confirmed":
        waits = " Flexport still has to apply it." if operation["pending_at_flexport"] else ""
        key = f"; its ID is {operation['resource_id']}" if operation["resource_id"] else ""
        return f"{named} is confirmed{key}.{waits}"
    if state == "unknown":
        follows = "more look-ups follow" if is_looked_up(operation) else "a person must decide"
        return f"{named} has an unknown outcome, and {follows}{because} See `flexportd operations show {number}`."
    if state == "awaiting_approval":
        return f"{named} awaits approval by another person: `flexportd operations approve {number}`."
    if is_under_way(operation):
        return f"{named} is {state}{because} See `flexportd operations show {number}`."
    return f"{named} {'has failed' if state == 'failed' else 'is cancelled'}{because}"


def shipment_number(daemon: DaemonClient, shipment: str) -> int:
    """The id of a shipment by its id or a unique reference. Raises NotFoundError."""
    return int(daemon.get(f"/shipments/{quote_id(shipment.strip())}", fields="id").document["id"])


def _show_preview(out: Output, found: Mapping[str, Any]) -> None:
    out.line(f"{found['method']} {found['path']}" + (", after an approval" if found["needs_approval"] else ""))
    for line in json.dumps(found["body"], indent=2, ensure_ascii=False).split("\n"):
        out.line(line)
