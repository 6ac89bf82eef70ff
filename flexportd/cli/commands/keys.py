"""`flexportd keys`: API keys."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import NearestChoice, daemon_command, limit_option
from flexportd.cli.format import ago, count_of, format_time, is_loopback, join_values
from flexportd.cli.output import Column, DaemonResponse, Output, Row
from flexportd.errors import NotFoundError


@click.group()
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope",
    default="read",
    show_default=True,
    type=NearestChoice(("read", "write", "admin")),
    help="Scope of the key; each includes the previous one.",
)
@click.option("--expires", metavar="WHEN", help="Lifetime (90d) or last valid day (2027-01-31); default: never.")
@click.option(
    "--consignee", "consignees", metavar="NAME", multiple=True, help="Limit to this consignee's shipments (repeatable)."
)
@click.option(
    "--metadata",
    metavar="KEY=VALUE",
    multiple=True,
    help="Limit to shipments with this metadata value (repeatable).",
)
@click.option("--rate-limit", metavar="RATE", help="Rate limit, such as 1200/1m (default: [api] rate_limit).")
@daemon_command
def keys_create(
    daemon: DaemonClient, out: Output, *, consignees: tuple[str, ...], metadata: tuple[str, ...], **options: str | None
) -> None:
    """Create a key and print it; it is shown only once."""
    body: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if consignees:
        body["consignees"] = list(consignees)
    if metadata:
        body["metadata"] = _pairs(metadata)
    reply = daemon.post("/keys", body)
    out.show(reply, lambda found: _print_created(out, found))


def _pairs(given: tuple[str, ...]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--metadata is {pair!r}; expected KEY=VALUE.", click.get_current_context())
        values.setdefault(key, []).append(value)
    return values


def _print_created(out: Output, found: dict[str, Any]) -> None:
    out.line(found["token"])
    until = f"expires {format_time(found['expires_at'])}" if found["expires_at"] else "never expires"
    out.note(f"Key {found['id']} ({found['name']}): scope {_scope(found)}, {until}. It is shown only once.")
    if found["shipments"] is not None:
        out.note(f"It currently gives access to {count_of(found['shipments'], 'shipment')}: {_access(found)}.")
    url = found["calendar_url"]
    out.note(f"Calendar: {url or 'needs [server] public_url, because the daemon listens only on Unix sockets'}")
    if url and is_loopback(url):
        out.note("This address works only on this machine. To share it, set [server] public_url.")


@keys.command("list")
@click.option("--revoked", is_flag=True, default=None, help="List revoked keys instead.")
@click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")
@limit_option
@daemon_command
def keys_list(
    daemon: DaemonClient, out: Output, *, revoked: bool | None, everything: bool, **options: int | None
) -> None:
    """List keys that are not revoked, newest first."""
    columns = (
        Column("id", priority=1),
        Column("name", narrows=True, priority=2),
        Column("scope", _scope, priority=4),
        Column("access", _access, narrows=True, priority=5),
        Column("rate", lambda row: row["rate_limit"], priority=9),
        Column("state", coloured=True, priority=3),
        Column("expires", lambda row: ago(row["expires_at"], out.now()), priority=6),
        Column("last used", lambda row: ago(row["last_used_at"], out.now()), priority=7),
        Column("uses", right=True, priority=8),
    )
    reply = daemon.get_list("/keys", everything=everything, revoked=bool(revoked), **options)
    out.show_list(reply, columns, "No keys.")


@keys.command("revoke")
@click.argument("which", metavar="ID|NAME")
@daemon_command
def keys_revoke(daemon: DaemonClient, out: Output, which: str) -> None:
    """Revoke a key."""
    reply = _revoke(daemon, which)
    out.show_line(reply, lambda found: f"Key {found['id']} ({found['name']}) revoked.")


def _revoke(daemon: DaemonClient, which: str) -> DaemonResponse:
    if which:
        try:
            return daemon.delete(f"/keys/{quote_id(which)}")
        except NotFoundError:
            named = daemon.get("/keys", name=which, revoked=False).document["data"] if which.strip() else []
            live = [row for row in named if row["state"] == "live"] or named
            if live:
                return daemon.delete(f"/keys/{quote_id(live[0]['id'])}")
    raise NotFoundError(f"No key has the ID or name {which[:80]!r}")


def _scope(row: Row) -> str:
    return str(row["scopes"][-1])


def _access(row: Row) -> str:
    if row["consignees"]:
        return f"consignee {join_values(row['consignees'])}"
    if row["metadata"]:
        return "; ".join(f"{key} {join_values(values)}" for key, values in row["metadata"].items())
    return "everything"
