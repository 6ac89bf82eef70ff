"""`flexportd shares`: links to one shipment for people without a key."""

from typing import Any

import click

from flexportd.cli.addresses import is_loopback
from flexportd.cli.asking import asks, lists
from flexportd.cli.client import Control, segment
from flexportd.cli.output import Column, Output, by_importance
from flexportd.cli.words import ago, minute


@click.group()
def shares() -> None:
    """Share one shipment by a link that ends; list and revoke such links."""


@shares.command("create")
@click.argument("shipment", metavar="SHIPMENT")
@click.option("--expires", metavar="WHEN", help="So long from now, or the last day (2027-01-31); else 30d.")
@click.option("--label", help="For whom it is; only you see it.")
@asks
def shares_create(daemon: Control, out: Output, shipment: str, **options: str | None) -> None:
    """Make a link to a shipment and print it, alone."""
    body = {name: value for name, value in options.items() if value is not None}
    reply = daemon.post(f"/shipments/{segment(shipment)}/shares", body)
    out.shown(reply, lambda found: _made(out, found))


def _made(out: Output, found: dict[str, Any]) -> None:
    out.line(found["url"])
    if is_loopback(found["url"]):
        out.note("Only this machine can open this link. Set [server] public_url to the address that others use.")
    out.note(f"Link {found['id']} shows shipment {found['shipment_id']} until {minute(found['expires_at'])}.")


@shares.command("list")
@click.option("--shipment", help="Only those to this shipment.")
@click.option("--revoked", is_flag=True, default=None, help="Those that were revoked instead.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@lists
@asks
def shares_list(
    daemon: Control,
    out: Output,
    *,
    shipment: str | None,
    revoked: bool | None,
    everything: bool,
    **options: int | None,
) -> None:
    """List the links that were not revoked, newest first."""
    now = out.now()
    columns = by_importance(
        (
            Column("id", lambda row: row["id"]),
            Column("shipment", lambda row: row["shipment_id"], right=True),
            Column("label", lambda row: row["label"], narrows=True),
            Column("state", lambda row: row["state"], coloured=True),
            Column("expires", lambda row: ago(row["expires_at"], now)),
            Column("views", lambda row: row["views"], right=True),
            Column("last viewed", lambda row: ago(row["last_viewed_at"], now)),
        ),
        "id, shipment, state, label, expires, last viewed, views",
    )
    reply = daemon.listed("/shares", everything=everything, shipment=shipment, revoked=bool(revoked), **options)
    out.listed(reply, columns, "No links.")


@shares.command("revoke")
@click.argument("share_id", metavar="ID")
@asks
def shares_revoke(daemon: Control, out: Output, share_id: str) -> None:
    """Let a link show nothing from now on."""
    reply = daemon.delete(f"/shares/{segment(share_id)}")
    out.shown(reply, lambda found: out.line(f"Link {found['id']} to shipment {found['shipment_id']} is revoked."))
