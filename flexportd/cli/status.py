"""`flexportd status`: how the daemon is, in words."""

from typing import Any

import click

from flexportd.cli.asking import asks
from flexportd.cli.client import Control
from flexportd.cli.output import Output
from flexportd.cli.words import ago, plural, size, span, tally


@click.command()
@asks
def status(daemon: Control, out: Output) -> None:
    """Show how the daemon is: ready or why not, queue, shipments."""
    out.shown(daemon.get("/status"), lambda document: _show(out, document))


def _show(out: Output, found: dict[str, Any]) -> None:
    ready = "is ready" if found["ready"] else "is NOT ready"
    out.line(f"flexportd {found['version']} {ready}, running for {span(found['uptime_seconds'])}")
    for reason in found["reasons"]:
        out.line(f"  because {reason}")
    for warning in found["warnings"]:
        out.line(f"  but {warning}")
    out.facts(
        [
            ("mirror", _mirror(out, found)),
            ("hearing", found["hearing"]["sentence"]),
            ("proxy", _proxy(found["flexport"])),
            ("queue", _queue(found["queue"])),
            ("webhooks", _webhooks(out, found["webhook"])),
            ("refused", _refused(out, found["webhook"])),
            ("events", tally(found["events"]["by_state"])),
            ("shipments", _shipments(out, found["shipments"])),
            ("by status", tally(found["shipments"]["by_status"])),
            ("by mode", tally(found["shipments"]["by_mode"])),
            ("storage", f"write-ahead log {size(found['storage']['wal_bytes'])}"),
            ("fault", found["storage"]["fault"]),
            ("connections", _connections(found["connections"])),
            ("cache", f"{size(found['cache']['bytes'])}, {plural(found['cache']['hits'], 'hit')}"),
        ]
    )


def _proxy(flexport: dict[str, Any] | None) -> str | None:
    if flexport is None:
        return None
    return flexport["proxy"] or "none (HTTP_PROXY and HTTPS_PROXY of the environment are not used)"


def _connections(connections: dict[str, Any]) -> str:
    refused, cut = tally(connections["refused"]), tally(connections["cut"])
    since = f"; refused since start {refused}" if connections["refused"] else ""
    since += f"; cut {cut}" if connections["cut"] else ""
    return f"{connections['open']} of at most {connections['limit']}{since}"


def _mirror(out: Output, found: dict[str, Any]) -> str:
    sync = found["sync"]
    if not sync["configured"]:
        return "webhooks alone: no key for Flexport's API is configured"
    whole = (
        f"everything compared {ago(sync['complete_at'], out.now())}" if sync["complete_at"] else "never compared whole"
    )
    ahead = sync["forecast"]
    return f"{whole}; the next full sync takes about {span(max(ahead['seconds'], 1))}"


def _queue(queue: dict[str, Any]) -> str:
    oldest = queue["oldest_seconds"].get("ready")
    waiting = f"{queue['ready']} ready" + (f" (the oldest for {span(oldest)})" if oldest and queue["ready"] else "")
    paused = ", PAUSED" if queue["paused"] else ""
    return f"{waiting}, {queue['leased']} leased, {plural(queue['dead'], 'dead letter')}{paused}"


def _webhooks(out: Output, webhook: dict[str, Any]) -> str:
    if not webhook["has_secrets"]:
        return "every one is refused: no secret is configured ([webhook] secrets)"
    since = tally(webhook["since_start"])
    return f"last received {ago(webhook['last_received_at'], out.now())} at {webhook['path']}; since start {since}"


def _refused(out: Output, webhook: dict[str, Any]) -> str | None:
    """Webhooks that were refused, by reason."""
    found = [
        f"{one['count']} {one['reason']} (last {ago(one['last_at'], out.now())} from {one['last_address']})"
        for one in webhook.get("refused", ())
    ]
    return ", ".join(found) or None


def _shipments(out: Output, shipments: dict[str, Any]) -> str:
    newest = f", the newest as of {ago(shipments['as_of'], out.now())}" if shipments["total"] else ""
    return f"{shipments['total']}{newest}"
