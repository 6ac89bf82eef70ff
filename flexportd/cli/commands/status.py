"""`flexportd status`: the state of the daemon and its data."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient
from flexportd.cli.command import daemon_command
from flexportd.cli.format import ago, count_of, format_duration, format_size, since, tally
from flexportd.cli.output import Output


@click.command()
@daemon_command
def status(daemon: DaemonClient, out: Output) -> None:
    """Show the status of the daemon, its queue and data."""
    out.show(daemon.get("/status"), lambda document: _show(out, document))


def _show(out: Output, found: dict[str, Any]) -> None:
    ready = "is ready" if found["ready"] else "is NOT ready"
    out.line(f"flexportd {found['version']} {ready} (up {format_duration(found['uptime_seconds'])})")
    for reason in found["reasons"]:
        out.line(f"  not ready: {reason}")
    for warning in found["warnings"]:
        out.line(f"  warning: {warning}")
    out.facts(
        [
            ("sync", _sync(out, found)),
            ("proxy", _proxy(found["flexport"])),
            ("webhooks", found["event_delivery"]["summary"]),
            ("received", _received(out, found["webhook"])),
            ("refused", _refused(out, found["webhook"])),
            ("path check", _path_check(out, found["webhook_check"])),
            ("queue", _queue(found["queue"])),
            ("notifications", _notifications(found["notifications"])),
            ("writes", _writes(found["writes"])),
            ("events", tally(found["events"]["by_state"])),
            ("shipments", _shipments(out, found["shipments"])),
            ("by status", tally(found["shipments"]["by_status"])),
            ("by mode", tally(found["shipments"]["by_mode"])),
            ("storage", f"write-ahead log {format_size(found['storage']['wal_bytes'])}"),
            ("storage error", found["storage"]["error"]),
            ("connections", _connections(found["connections"])),
            ("cache", f"{format_size(found['cache']['bytes'])}, {count_of(found['cache']['hits'], 'hit')}"),
        ]
    )


def _proxy(flexport: dict[str, Any] | None) -> str | None:
    if flexport is None:
        return None
    return flexport["proxy"] or "none (HTTP_PROXY and HTTPS_PROXY are not used)"


def _connections(connections: dict[str, Any]) -> str:
    refused, cut = tally(connections["refused"]), tally(connections["closed"])
    since = f"; refused since start: {refused}" if connections["refused"] else ""
    since += f"; closed since start: {cut}" if connections["closed"] else ""
    return f"{connections['open']} open, limit {connections['limit']}{since}"


def _sync(out: Output, found: dict[str, Any]) -> str:
    sync = found["sync"]
    if not sync["configured"]:
        return "off: no Flexport API credentials are configured"
    whole = (
        f"last full sync {ago(sync['complete_at'], out.now())}" if sync["complete_at"] else "no full sync completed yet"
    )
    ahead = sync["forecast"]
    return f"{whole}; the next one takes about {format_duration(max(ahead['seconds'], 1))}"


def _queue(queue: dict[str, Any]) -> str:
    oldest = queue["oldest_seconds"].get("ready")
    waiting = f"{queue['ready']} ready" + (f" (oldest {format_duration(oldest)})" if oldest and queue["ready"] else "")
    paused = ", PAUSED" if queue["paused"] else ""
    return f"{waiting}, {queue['leased']} leased, {count_of(queue['dead'], 'dead letter')}{paused}"


def _received(out: Output, webhook: dict[str, Any]) -> str:
    if not webhook["has_secrets"]:
        return "none: every webhook is refused because [webhook] secrets is not set"
    last, counts = ago(webhook["last_received_at"], out.now()), tally(webhook["deliveries"])
    return f"{last} at {webhook['path']}; since start: {counts}"


def _refused(out: Output, webhook: dict[str, Any]) -> str | None:
    found = [
        f"{one['count']} {one['reason']} (last {ago(one['last_at'], out.now())} from {one['last_address']})"
        for one in webhook.get("rejected", ())
    ]
    return ", ".join(found) or None


def _path_check(out: Output, check: dict[str, Any]) -> str | None:
    if check["state"] == "off":
        return None
    when = f" ({ago(check['checked_at'], out.now())})" if check["checked_at"] else ""
    failed = f"FAILED at {check['step']}: " if check["state"] == "failed" else ""
    return f"{failed}{check['detail']}{when}"


def _notifications(notifications: dict[str, Any]) -> str:
    channels = notifications["channels"]
    if not channels:
        return "off: no channel is configured"
    states = ", ".join(f"{name} {state.upper() if state != 'working' else state}" for name, state in channels.items())
    return f"{states}; {notifications['pending']} waiting, {notifications['failed']} failed"


def _writes(writes: dict[str, Any]) -> str:
    counts = {state: count for state, count in writes["operations"].items() if count}
    operations = f"; operations: {tally(counts)}" if counts else ""
    decisions = f"; {writes['needs_decision']} NEED A DECISION" if writes["needs_decision"] else ""
    return f"{'on' if writes['enabled'] else 'off'}{operations}{decisions}"


def _shipments(out: Output, shipments: dict[str, Any]) -> str:
    newest = f" (latest update {since(shipments['as_of'], out.now())})" if shipments["as_of"] else ""
    return f"{shipments['total']}{newest}"
