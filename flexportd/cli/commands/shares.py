"""`flexportd shares`: share links to a shipment for people without an API key."""

from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import COMMAND_COLUMNS
from flexportd.cli.command import daemon_command, limit_option
from flexportd.cli.format import format_time, is_loopback
from flexportd.cli.output import Output


@click.group()
def shares() -> None:
    """Create, list and revoke share links to shipments."""


@shares.command("create")
@click.argument("shipment", metavar="SHIPMENT")
@click.option("--expires", metavar="WHEN", help="Lifetime (7d) or last valid day (2027-01-31); default: 30d.")
@click.option("--label", help="Label such as the recipient; not shown to viewers.")
@daemon_command
def shares_create(daemon: DaemonClient, out: Output, shipment: str, **options: str | None) -> None:
    """Create a share link to a shipment and print it."""
    body = {name: value for name, value in options.items() if value is not None}
    reply = daemon.post(f"/shipments/{quote_id(shipment)}/shares", body)
    out.show(reply, lambda found: _print_created(out, found))


def _print_created(out: Output, found: dict[str, Any]) -> None:
    out.line(found["url"])
    if is_loopback(found["url"]):
        out.note("This link works only on this machine. To share it, set [server] public_url.")
    out.note(f"Link {found['id']} shows shipment {found['shipment_id']} until {format_time(found['expires_at'])}.")


@shares.command("list")
@click.option("--shipment", help="Limit to this shipment.")
@click.option("--revoked", is_flag=True, default=None, help="List revoked links instead.")
@click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")
@limit_option
@daemon_command
def shares_list(
    daemon: DaemonClient,
    out: Output,
    *,
    shipment: str | None,
    revoked: bool | None,
    everything: bool,
    **options: int | None,
) -> None:
    """List links that are not revoked, newest first."""
    reply = daemon.get_list("/shares", everything=everything, shipment=shipment, revoked=bool(revoked), **options)
    out.show_list(reply, COMMAND_COLUMNS["shares"], "No links.")


@shares.command("revoke")
@click.argument("share_id", metavar="ID")
@daemon_command
def shares_revoke(daemon: DaemonClient, out: Output, share_id: str) -> None:
    """Revoke a share link."""
    reply = daemon.delete(f"/shares/{quote_id(share_id)}")
    out.show_line(reply, lambda found: f"Link {found['id']} to shipment {found['shipment_id']} revoked.")
