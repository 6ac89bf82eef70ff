"""`flexportd deliveries`: messages to the channels of notifications, and sending them again."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import NearestChoice, daemon_command, limit_option, local_user
from flexportd.cli.exit_codes import Exit, exit_of
from flexportd.cli.format import ago, count_of, format_time
from flexportd.cli.output import Output
from flexportd.errors import ConflictError, NotFoundError

STATES = ("waiting", "sending", "sent", "failed", "discarded")
KINDS = ("message", "summary", "digest", "test")


@click.group()
def deliveries() -> None:
    """List, show, retry or discard messages to channels."""


@deliveries.command("list")
@click.option("--state", type=NearestChoice(STATES), help="Limit to this state.")
@click.option("--channel", metavar="NAME", help="Limit to this channel.")
@click.option("--kind", type=NearestChoice(KINDS), help="Limit to this kind.")
@click.option("--shipment", metavar="ID", help="Limit to this shipment.")
@click.option("--exception", metavar="ID", help="Limit to this exception.")
@click.option("--created-after", metavar="TIME", help="Created on or after this day or time.")
@click.option("--created-before", metavar="TIME", help="Created before this day or time.")
@click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")
@limit_option
@daemon_command
def deliveries_list(daemon: DaemonClient, out: Output, *, everything: bool, **options: str | int | None) -> None:
    """List messages, newest first."""
    reply = daemon.get_list("/deliveries", everything=everything, **options)
    nothing = "No matches." if any(value is not None for value in options.values()) else "No messages yet."
    out.show_list(reply, COMMAND_COLUMNS["deliveries"], nothing)


@deliveries.command("show")
@click.argument("delivery_id", metavar="ID")
@daemon_command
def deliveries_show(daemon: DaemonClient, out: Output, delivery_id: str) -> None:
    """Show one message with its text and its notifications."""
    out.show(daemon.get(f"/deliveries/{quote_id(delivery_id)}"), lambda found: _show(out, found))


def _show(out: Output, found: dict[str, Any]) -> None:
    waits = found["next_attempt_at"] and ago(found["next_attempt_at"], out.now())
    out.facts(
        [
            ("delivery", found["id"]),
            ("title", found["title"]),
            ("state", found["state"]),
            ("channel", f"{found['channel']} ({found['channel_type']})"),
            ("rules", ", ".join(found["rules"])),
            ("created", format_time(found["created_at"])),
            ("sent", format_time(found["sent_at"])),
            ("attempts", found["attempts"]),
            ("next attempt", waits),
            ("error", found["error"]),
            ("note", found["note"]),
            ("repeated", "may have arrived twice" if found["repeated"] else None),
            ("replaces", found["replaces"]),
            ("dead letter", found["dead_letter"]),
        ]
    )
    out.heading("Text")
    for line in found["text"].rstrip("\n").split("\n"):
        out.line(line)
    if found["contains"]:
        out.heading("Notifications")
        out.table(found["contains"], COMMAND_COLUMNS["delivered notifications"])


@deliveries.command()
@click.argument("delivery_ids", metavar="[ID]...", nargs=-1)
@click.option("--again", is_flag=True, help="With ID: send messages once more that were sent.")
@click.option("--channel", metavar="NAME", help="Retry messages of this channel, instead of single ones.")
@click.option(
    "--state", type=NearestChoice(("failed", "discarded")), help="With --channel: failed (default) or discarded."
)
@click.option("--since", metavar="TIME", help="With --channel: created on or after this day or time.")
@click.option("--until", metavar="TIME", help="With --channel: created before this day or time (default: now).")
@click.option("--include-sent", is_flag=True, help="With --since: replay everything to a webhook, also what was sent.")
@click.option("--yes", is_flag=True, help="With --channel: do not ask for confirmation.")
@daemon_command
def retry(daemon: DaemonClient, out: Output, delivery_ids: tuple[str, ...], **options: Any) -> int | None:
    """Send messages again: single ones, or those of a channel.

    Each keeps its id, by which the recipient can recognize one that it has already.
    """
    context = click.get_current_context()
    channel, again, is_confirmed = options.pop("channel"), options.pop("again"), options.pop("yes")
    if (channel is None) == (not delivery_ids):
        raise click.UsageError("Specify one or more deliveries, or --channel.", context)
    if channel is not None:
        if again:
            raise click.UsageError("--again requires deliveries; with --channel use --include-sent.", context)
        _retry_many(daemon, out, {"channel": channel, **_given(options)}, is_confirmed=is_confirmed)
        return None
    if _given(options) or is_confirmed:
        raise click.UsageError("--state, --since, --until, --include-sent and --yes require --channel.", context)
    return _act(daemon, out, delivery_ids, "retry", {"again": again})


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, False)}


def _retry_many(daemon: DaemonClient, out: Output, body: dict[str, Any], *, is_confirmed: bool) -> None:
    counted = daemon.post("/deliveries/retry", {**body, "dry_run": True}).document
    matching = counted["matching"]
    if not is_confirmed and matching:
        click.confirm(f"Send {count_of(matching, 'message')} to {body['channel']} again?", abort=True, err=True)
    body["until"] = counted["until"]  # what is created from now on is sent anyway
    while True:
        reply = daemon.post("/deliveries/retry", body)
        out.show_line(reply, lambda found: f"{count_of(found['retried'], 'message')} queued again.")
        if reply.document["next"] is None:
            return
        body["after"] = reply.document["next"]


@deliveries.command()
@click.argument("delivery_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Reason, kept with the message.")
@daemon_command
def discard(daemon: DaemonClient, out: Output, delivery_ids: tuple[str, ...], reason: str) -> int | None:
    """Discard messages that wait or failed; they are kept with your name and the reason."""
    body = {"reason": reason, "discarded_by": local_user()}
    return _act(daemon, out, delivery_ids, "discard", body)


def _act(
    daemon: DaemonClient, out: Output, delivery_ids: tuple[str, ...], action: str, body: dict[str, Any]
) -> int | None:
    """Do it with each, and report those with which it cannot be done."""
    codes: list[Exit] = []
    for delivery_id in delivery_ids:
        try:
            reply = daemon.post(f"/deliveries/{quote_id(delivery_id)}/{action}", body)
            out.show_line(reply, lambda found: f"Delivery {found['id']} {_DONE[action]}.")
        except NotFoundError as error:
            codes.append(Exit.NOT_FOUND)
            out.note(f"flexportd: {error}")
        except ConflictError as error:
            codes.append(exit_of(error))
            out.note(f"flexportd: {error}")
    return codes[0] if codes else None


_DONE = {"retry": "queued again", "discard": "discarded"}
