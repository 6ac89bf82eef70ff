"""`flexportd notify`: rules and channels of notifications."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import daemon_command
from flexportd.cli.commands import notify_tools
from flexportd.cli.format import ago, count_of
from flexportd.cli.output import Column, Output


@click.group()
def notify() -> None:
    """Show and try out rules and channels of notifications."""


@notify.command()
@daemon_command
def rules(daemon: DaemonClient, out: Output) -> None:
    """List rules with their matches in the last 30 days."""
    columns = (
        Column("rule", lambda row: row["name"] if row["enabled"] else f"{row['name']} (off)", narrows=True, priority=1),
        Column("on", lambda row: ", ".join(row["on"]), narrows=True, priority=3),
        Column("when", lambda row: _conditions(row["when"]), narrows=True, priority=7),
        Column("channels", lambda row: ", ".join(row["channels"]) or "none", narrows=True, priority=2),
        Column("timing", _timing, narrows=True, priority=8),
        Column("matched", lambda row: row["matches"], right=True, priority=4),
        Column("sent", right=True, priority=5),
        Column("dropped", right=True, priority=9),
        Column("last match", lambda row: ago(row["last_matched_at"], out.now()), priority=6),
    )
    out.show_list(daemon.get("/notify/rules"), columns, "No rules.")


def _conditions(when: dict[str, Any]) -> str:
    from flexportd.settings import toml_value

    return ", ".join(f"{name} = {toml_value(value)}" for name, value in when.items())


def _timing(rule: Any) -> str:
    quiet = f"quiet {rule['quiet']}" if rule["quiet"] else None
    limit = f"{rule['max_per_hour']} per hour" if rule["max_per_hour"] else None
    return ", ".join(filter(None, (rule["digest"], quiet, limit)))


@notify.command()
@daemon_command
def channels(daemon: DaemonClient, out: Output) -> None:
    """List channels with their state."""
    columns = (*COMMAND_COLUMNS["channels"], Column("error", _error, narrows=True, priority=3))
    out.show_list(daemon.get("/notify/channels"), columns, "No channel is configured.")


def _error(channel: Any) -> str:
    failed = f"{count_of(channel['failed'], 'message')} failed" if channel["failed"] else None
    return "; ".join(filter(None, (channel["error"], failed)))


@notify.command()
@click.argument("name", metavar="CHANNEL")
@daemon_command
def resume(daemon: DaemonClient, out: Output, name: str) -> None:
    """Resume a channel that fails or is switched off.

    Messages that have failed remain so: `flexportd deliveries retry --channel` sends them again.
    """
    reply = daemon.post(f"/notify/channels/{quote_id(name)}/resume")
    out.show_line(reply, _resumed)


def _resumed(found: dict[str, Any]) -> str:
    if found["state"] == "working":
        return f"Channel {found['name']} works."
    failed = f" {count_of(found['failed'], 'message')} failed before." if found["failed"] else ""
    return f"Channel {found['name']} resumed.{failed}"


for command in (notify_tools.test, notify_tools.preview, notify_tools.explain, notify_tools.digest):
    notify.add_command(command)
