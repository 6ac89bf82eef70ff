"""`flexportd notify test|preview|explain|digest`: try out notifications."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import daemon_command
from flexportd.cli.exit_codes import Exit
from flexportd.cli.format import count_of, format_time
from flexportd.cli.output import Output


@click.command()
@click.argument("channel", metavar="CHANNEL")
@daemon_command
def test(daemon: DaemonClient, out: Output, channel: str) -> Exit | None:
    """Send a test message to a channel."""
    reply = daemon.post(f"/notify/channels/{quote_id(channel)}/test")
    out.show(reply, lambda found: _show_test(out, found))
    return None if reply.document["sent"] else Exit.FAILED


def _show_test(out: Output, found: dict[str, Any]) -> None:
    if found["sent"]:
        out.line(f"Sent to {found['channel']} ({found['type']}, {found['destination']}).")
        if found["note"]:
            out.line(f"Note: {found['note']}")
    else:
        out.note(f"Not sent to {found['channel']} ({found['type']}, {found['destination']}): {found['error']}")


@click.command()
@click.argument("rule", metavar="RULE")
@click.option("--days", type=click.IntRange(1, 30), default=30, show_default=True, help="Days of history to try.")
@click.option("--texts/--no-texts", default=True, help="Show the texts of the messages.", show_default=True)
@daemon_command
def preview(daemon: DaemonClient, out: Output, rule: str, *, days: int, texts: bool) -> None:
    """Show what a rule would have sent in the last days.

    The recorded changes are evaluated as at their time. Nothing is sent.
    """
    reply = daemon.post("/notify/preview", {"rule": rule, "days": days})
    out.show(reply, lambda found: _show_preview(out, found, days, texts=texts))


def _show_preview(out: Output, found: dict[str, Any], days: int, *, texts: bool) -> None:
    sent, matched = count_of(found["sent"], "message"), count_of(found["matched"], "match", "matches")
    period = count_of(days, "day")
    out.line(f"{found['rule']}: in the last {period}, would have sent {sent}, held {found['held']} of {matched}.")
    reasons = [("merged into other messages", found["merged"]), ("still waiting", found["waiting"])]
    for reason, count in (*reasons, *found["dropped"].items()):
        if count:
            out.line(f"  {count:>6} {reason}")
    if not found["is_complete"]:
        out.note("There was too much to compose: the numbers are too low. Try fewer days.")
    for message in found["messages"] if texts else ():
        out.heading(f"{format_time(message['at'])} to {message['channel']}: {message['title']}")
        for line in message["text"].splitlines():
            out.line(f"  {line}" if line else "")
    left = found["sent"] - len(found["messages"])
    if texts and left > 0:
        out.note(f"{count_of(left, 'further message')} not shown.")


@click.command()
@click.argument("event_id", metavar="EVENT")
@daemon_command
def explain(daemon: DaemonClient, out: Output, event_id: str) -> None:
    """Explain which rules matched an event, which did not, and why."""
    out.show(daemon.get(f"/events/{quote_id(event_id)}/notifications"), lambda found: _show_explanation(out, found))


def _show_explanation(out: Output, found: dict[str, Any]) -> None:
    if not found["messages"]:
        out.line(f"Event {found['event_id']} caused no message: {found['note']}.")
    for message in found["messages"]:
        about = f"{message['resource']} {message['resource_id']}" if message["resource"] else "flexportd"
        out.heading(f"{message['topic']} ({about}), {format_time(message['at'])}")
        if not message["is_news"]:
            out.line("  This is no news: the event is old and was replayed.")
        for rule in sorted(message["rules"], key=lambda rule: not rule["matched"]):
            verdict = "matched" if rule["matched"] else "did not match"
            out.line(f"  {rule['rule']} {verdict}: {rule['reason']}")
            for channel, outcome in rule.get("channels", {}).items():
                out.line(f"    {channel}: {outcome}")


@click.command()
@click.argument("rule", metavar="[RULE]", required=False)
@click.option("--now", is_flag=True, required=True, help="Compose it now, not at its time.")
@click.option("--dry-run", is_flag=True, help="Show it without sending it.")
@daemon_command
def digest(daemon: DaemonClient, out: Output, rule: str | None, *, now: bool, dry_run: bool) -> None:  # noqa: ARG001
    """Compose the digest of a rule, or of all rules, and send it.

    What is sent now is not part of the next digest.
    """
    reply = daemon.post("/notify/digests", {"rule": rule, "dry_run": dry_run})
    out.show(reply, lambda found: _show_digests(out, found["data"]))


def _show_digests(out: Output, found: list[dict[str, Any]]) -> None:
    for one in found:
        where = f"Rule {one['rule']}, channel {one['channel']}"
        if one["title"] is None:
            out.line(f"{where}: nothing to say; no message would be sent.")
            continue
        sent = f" (delivery {one['delivery_id']})" if one["delivery_id"] else " (not sent)"
        out.heading(f"{where}{sent}: {one['title']}")
        for line in one["text"].splitlines():
            out.line(f"  {line}" if line else "")
