"""`flexportd bookings create|amend|copy`: requests for freight."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flexportd.cli.body_files import Body, overlay, read_body_file, read_template, set_members
from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.command import Invocation, daemon_command
from flexportd.cli.output import DaemonResponse, Output
from flexportd.cli.render import text
from flexportd.cli.write_command import WriteOptions, actor_header, create_operation, send, show_outcome, write_options

_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_SET = click.option(
    "--set", "assignments", metavar="NAME=VALUE", multiple=True,
    help="Set a field, also a nested one such as ocean_booking.is_lcl=true (repeatable).",
)  # fmt: skip

_PORTS = {  # whose codes the amendment has, and the raw booking in other places
    "new_origin_port_loc_code": "origin_port_code",
    "new_destination_port_loc_code": "destination_port_code",
}


def add_to(group: click.Group) -> None:
    """Add the commands to the group `bookings`."""
    for command in (create, amend, copy):
        group.add_command(command)


@click.command()
@click.argument("path", metavar="[FILE]", type=_FILE, required=False)
@click.option("--template", metavar="NAME", help="Begin with this template: its name, or the path of a file.")
@_SET
@daemon_command
@write_options
def create(
    daemon: DaemonClient,
    out: Output,
    path: Path | None,
    *,
    template: str | None,
    assignments: tuple[str, ...],
    options: WriteOptions,
) -> int | None:
    """Create a booking by ocean, air or truck.

    FILE has the body of Flexport's POST /bookings as JSON; - is standard input. Templates are in the folder
    templates/bookings beside the configuration file, as NAME.json. FILE changes a template, and --set changes both:
    objects are merged, and null removes a field.
    """
    if path is None and template is None:
        raise click.UsageError("Specify a FILE, --template or both.", click.get_current_context())
    body: Body = {} if template is None else read_template(template, _template_folder())
    if path is not None:
        given = read_body_file(path)
        body = given if template is None else overlay(body, given)
    return send(daemon, out, "POST", "/bookings", set_members(body, assignments), options=options)


def _template_folder() -> Path:
    invocation: Invocation = click.get_current_context().obj
    config = invocation.loaded.path
    return (Path() if config is None else config.parent) / "templates" / "bookings"


@click.command()
@click.argument("booking_id", metavar="ID")
@_SET
@click.option("--cargo-ready-date", metavar="DAY", help="The day on which the cargo is ready, such as 2027-01-31.")
@daemon_command
@write_options
def copy(
    daemon: DaemonClient,
    out: Output,
    booking_id: str,
    *,
    assignments: tuple[str, ...],
    cargo_ready_date: str | None,
    options: WriteOptions,
) -> int | None:
    """Create a booking like an earlier one.

    The parties, the route, the terms and the cargo are the same. Dates are not copied. With --dry-run, the body is
    printed, to be saved and changed for `bookings create`; problems of it are printed as errors.
    """
    from flexportd.core.outbox.booking_copy import copy_booking

    body = copy_booking(_booking(daemon, booking_id)["raw"] or {})
    if cargo_ready_date is not None:
        body["cargo_ready_date"] = cargo_ready_date
    body = set_members(body, assignments)
    if not options.is_dry_run:
        return send(daemon, out, "POST", "/bookings", body, options=options)
    out.document(DaemonResponse(json.dumps(body, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")))
    sys.stdout.flush()
    daemon.write("POST", "/bookings", body, actor_header(), dry_run=True)
    return None


@click.command()
@click.argument("booking_id", metavar="ID")
@click.argument("path", metavar="[FILE]", type=_FILE, required=False)
@_SET
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@daemon_command
@write_options
def amend(
    daemon: DaemonClient,
    out: Output,
    booking_id: str,
    path: Path | None,
    *,
    assignments: tuple[str, ...],
    yes: bool,
    options: WriteOptions,
) -> int | None:
    """Amend a booking, after showing the difference.

    FILE has the body of Flexport's POST /booking_amendments as JSON, without booking_id; - is standard input. Flexport
    may take some time to apply an amendment.
    """
    context = click.get_current_context()
    if path is None and not assignments:
        raise click.UsageError("Specify a FILE, --set or both.", context)
    body = set_members({} if path is None else read_body_file(path), assignments)
    booking = _booking(daemon, booking_id)
    target = f"/bookings/{quote_id(str(booking['id']))}/amendments"
    if options.is_dry_run and out.as_json:
        return send(daemon, out, "POST", target, body, options=options)
    daemon.write("POST", target, body, actor_header(), dry_run=True)  # its problems come before the question
    _show_difference(out, booking, body)
    if options.is_dry_run:
        return None
    if not yes:
        if str(path) == "-" or not sys.stdin.isatty():
            raise click.UsageError("Specify --yes to send it: there is no terminal for the question.", context)
        click.confirm(f"Send this amendment of booking {booking['id']} to Flexport?", abort=True, err=True)
    return show_outcome(daemon, out, create_operation(daemon, "POST", target, body, options), options.wait)


def _booking(daemon: DaemonClient, booking_id: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.get(f"/bookings/{quote_id(booking_id)}", include="raw").document
    return found


def _show_difference(out: Output, booking: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """The present and the new value of each field, with --json on standard error."""
    from flexportd.core.outbox.lookup import amended_value

    raw = booking["raw"] or {}
    for name, value in body.items():
        present = text(booking[_PORTS[name]] if name in _PORTS else amended_value(raw, name))
        line = f"{name}: {present + ' → ' if present else ''}{text(value)}"
        if out.as_json:
            out.note(line)
        else:
            out.line(line)
