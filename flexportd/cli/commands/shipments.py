"""`flexportd shipments`: shipments."""

from collections.abc import Mapping
from typing import Any

import click

from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import CONTAINERS, DELETED_COLUMN, LEGS
from flexportd.cli.command import daemon_command, limit_option
from flexportd.cli.commands.resources import DashIdCommand, DefaultShowGroup, refresh_command
from flexportd.cli.format import actual_or_estimate, format_time, humanize, join_values, since
from flexportd.cli.output import Column, Output
from flexportd.cli.render import freshness_rows, text
from flexportd.cli.write_command import WriteOptions, send, shipment_number, write_options

_FILTERS = (
    click.option("--status", help="Limit to these statuses, separated by commas."),
    click.option("--mode", help="Limit to these modes, such as ocean,air."),
    click.option("--q", metavar="TEXT", help="Limit to names, IDs and references with this text."),
    click.option("--po", metavar="NUMBER", help="Limit to this purchase order."),
    click.option("--container", metavar="NUMBER", help="Limit to this container."),
    click.option("--sku", help="Limit to this product."),
    click.option("--bill", metavar="NUMBER", help="Limit to this house or master bill, or carrier booking."),
    click.option("--departure-before", metavar="DAY", help="Departing from the port before this day."),
    click.option("--departure-after", metavar="DAY", help="Departing from the port on or after this day."),
    click.option("--eta-before", metavar="TIME", help="Arriving at the port before this day or time."),
    click.option("--eta-after", metavar="TIME", help="Arriving at the port on or after this day or time."),
    click.option("--ramp-eta-before", metavar="DAY", help="Arriving at the inland ramp before this day."),
    click.option("--ramp-eta-after", metavar="DAY", help="Arriving at the inland ramp on or after this day."),
    click.option("--delivery-before", metavar="DAY", help="Delivered, or due, before this day."),
    click.option("--delivery-after", metavar="DAY", help="Delivered, or due, on or after this day."),
    click.option("--archived/--no-archived", default=None, help="Limit to archived shipments, or exclude them."),
    click.option("--removed/--no-removed", default=None, help="Limit to those deleted at Flexport, or exclude them."),
    click.option("--sort", metavar="WORD", help="Sort by updated_at, id or eta. Prefix - sorts descending."),
    click.option("--all", "everything", is_flag=True, help="List all, without a row limit."),
)


def _filtered(command: Any) -> Any:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group(cls=DefaultShowGroup)
def shipments() -> None:
    """List shipments; show status and timeline of one."""


@shipments.command("list")
@_filtered
@limit_option
@daemon_command
def shipments_list(daemon: DaemonClient, out: Output, *, everything: bool, **filters: str | int | bool | None) -> None:
    """List shipments, most recently updated first."""
    columns = (
        Column("id", lambda row: row["flex_id"], priority=1),
        Column("name", narrows=True, priority=4),
        Column("mode", lambda row: humanize(row["mode"]), priority=9),
        Column("status", lambda row: humanize(row["status"]), narrows=True, coloured=True, priority=2),
        Column("from", lambda row: row["origin"], narrows=True, priority=6),
        Column("to", lambda row: row["destination"], narrows=True, priority=5),
        Column("arrival", lambda row: actual_or_estimate(row, "arrival"), priority=3),
        Column("port", lambda row: row.get("port_of_unloading"), narrows=True, priority=8),
        Column("delivery", lambda row: actual_or_estimate(row, "delivered_in_full"), priority=7),
        Column("updated", lambda row: since(row["as_of"], out.now()) if row["as_of"] else "unknown", priority=10),
    )
    reply = daemon.get_list("/shipments", everything=everything, **filters)
    gone = not out.as_json and any(row.get("removed_at") for row in reply.document["data"])
    out.show_list(reply, (*columns, DELETED_COLUMN) if gone else columns, "No shipments.")


@shipments.command("show", cls=DashIdCommand)
@click.argument("shipment_id", metavar="ID", nargs=-1, required=True)
@daemon_command
def shipments_show(daemon: DaemonClient, out: Output, shipment_id: tuple[str, ...]) -> None:
    """Show one shipment: facts, timeline, legs and containers.

    ID is 910233, FLEX-910233, or a unique name, bill or booking number. A leading ~ marks a forecast date.
    """
    reply = daemon.get(f"/shipments/{quote_id(' '.join(shipment_id))}")
    if out.as_json:
        out.document(reply)
        return
    path = f"/shipments/{reply.document['id']}"
    _facts(out, reply.document)
    for name, columns in (("timeline", _TIMELINE), ("legs", LEGS), ("containers", CONTAINERS)):
        rows = daemon.get(f"{path}/{name}").document["data"]
        if rows:
            out.heading(name.capitalize())
            out.table(rows, columns)


@shipments.command("set", cls=DashIdCommand)
@click.argument("shipment_id", metavar="ID")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--remove", "removed", metavar="KEY", multiple=True, help="Remove this key (repeatable).")
@daemon_command
@write_options
def shipments_set(
    daemon: DaemonClient,
    out: Output,
    shipment_id: str,
    pairs: tuple[str, ...],
    *,
    removed: tuple[str, ...],
    options: WriteOptions,
) -> int | None:
    """Set metadata of a shipment; other keys stay as they are.

    A KEY with several values is given once for each of them. Flexport accepts only keys that the consignee has defined.
    """
    context = click.get_current_context()
    if not pairs and not removed:
        raise click.UsageError("Specify one or more KEY=VALUE, or --remove KEY.", context)
    metadata: dict[str, list[str] | None] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise click.UsageError(f"{pair[:80]!r} is not KEY=VALUE; to remove a key, use --remove.", context)
        metadata[key] = [*(metadata.get(key) or ()), value]
    for key in removed:
        if key in metadata:
            raise click.UsageError(f"{key[:80]!r} is set and removed; specify one of the two.", context)
        metadata[key] = None
    number = shipment_number(daemon, shipment_id)
    return send(daemon, out, "PATCH", f"/shipments/{number}", {"metadata": metadata}, options=options)


def _facts(out: Output, found: dict[str, Any]) -> None:
    stops = [f"{found[end]} ({found[end + '_code']})" if found[end + "_code"] else found[end] for end in _ENDS]
    out.facts(
        [
            ("shipment", found["flex_id"]),
            ("name", found["name"]),
            ("status", humanize(found["status"])),
            (
                "mode",
                " ".join(filter(None, (humanize(found["mode"]), humanize(found["freight_type"]), found["incoterm"]))),
            ),
            ("from", stops[0]),
            ("to", stops[1]),
            *((title, _at_place(found, name, place)) for name, title, place in _STOPS),
            ("weight", text(found["weight"])),
            ("volume", text(found["volume"])),
            ("chargeable weight", text(found["chargeable_weight"])),
            ("carrier", found["carrier"]),
            ("vessel", found["vessel"]),
            ("house bills", join_values(found["house_bills"])),
            ("master bill", found["master_bill"]),
            ("carrier booking", found["carrier_booking_number"]),
            ("containers", join_values(found["container_numbers"])),
            ("purchase orders", join_values(found["purchase_orders"])),
            ("products", join_values(found["skus"])),
            ("shippers", join_values(found["shippers"])),
            ("consignees", join_values(found["consignees"])),
            ("archived", format_time(found["archived_at"])),
            *freshness_rows(found, out.now()),
        ]
    )


_ENDS = ("origin", "destination")
_STOPS = (
    ("picked_up_in_full", "pickup", "origin"),
    ("departure", "departure", "port_of_loading"),
    ("arrival", "arrival", "port_of_unloading"),
    ("ramp_arrival", "ramp arrival", "inland_ramp"),
    ("place_of_delivery_arrival", "place of delivery", "place_of_delivery"),
    ("delivered_in_full", "delivery", "destination"),
)


def _at_place(found: Mapping[str, Any], name: str, place: str) -> str:
    """The actual or estimated day, and its place.

    A place of delivery that is the ramp or the port of unloading is not repeated.
    """
    if place == "place_of_delivery" and found[place] in (found["inland_ramp"], found["port_of_unloading"]):
        return ""
    day = actual_or_estimate(found, name)
    return " ".join(filter(None, (day, found[place]))) if day else ""


def _when(entry: Any) -> str:
    """The day if only that is known, else the minute; estimates begin with ~."""
    known = "actual" if entry["actual_at"] else "planned"
    at = entry[f"{known}_date"] if entry["day_only"] else format_time(entry[f"{known}_at"])
    return f"{at}" if known == "actual" else f"~{at}"


_TIMELINE = (
    Column("when", _when),
    Column("milestone", lambda row: row["title"], narrows=True),
    Column("place", narrows=True),
    Column("containers", lambda row: join_values(row["container_numbers"])),
)


@shipments.command("carbon", cls=DashIdCommand)
@click.argument("shipment_id", metavar="ID")
@click.option("--calculate", is_flag=True, help="Have Flexport calculate every leg now.")
@daemon_command
def shipments_carbon(daemon: DaemonClient, out: Output, shipment_id: str, *, calculate: bool) -> None:
    """Show the carbon emissions of a shipment by leg.

    Shows stored figures. Flexport calculates only on request: use --calculate.
    """
    path = f"/shipments/{quote_id(shipment_id)}/carbon"
    reply = daemon.post(path) if calculate else daemon.get(path)
    out.show(reply, lambda found: _carbon(out, found))


def _carbon(out: Output, found: dict[str, Any]) -> None:
    if found["data"]:
        out.table(found["data"], _CARBON)
        out.line()
        out.line(f"Total: {found['total_kg']} kg CO2e" + (" (incomplete)" if found["missing"] else ""))
    else:
        out.line("No carbon figures.")
    for one in found["missing"]:
        out.line(f"Leg {one['leg_id']}: {one['reason']}")
    stored = {row["leg_id"] for row in found["data"]}
    for one in found.get("failed", ()):
        if one["leg_id"] in stored:
            out.line(f"Leg {one['leg_id']}: kept the previous figure: {one['reason']}")


_CARBON = (
    Column("leg", lambda row: row["leg_id"], right=True),
    Column("mode", lambda row: humanize(row["mode"])),
    Column("kg CO2e", lambda row: row["kg"], right=True),
    Column("calculated", lambda row: format_time(row["calculated_at"])),
    Column("state", lambda row: "outdated" if row["outdated"] else "current"),
)

shipments.add_command(refresh_command("shipments", "shipment"))
