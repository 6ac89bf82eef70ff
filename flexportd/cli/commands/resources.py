"""The commands of resources: `list`, `show` and `refresh`, the same for all."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from flexportd.cli import render
from flexportd.cli.client import DaemonClient, quote_id
from flexportd.cli.columns import columns_of
from flexportd.cli.command import daemon_command, limit_option
from flexportd.cli.format import humanize
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.cli.resource_specs import RESOURCES, ResourceSpec
from flexportd.errors import NotFoundError

Command = Callable[..., Any]

_METAVARS = {"substring": "TEXT", "number": "ID", "day_or_time": "TIME", "word": "TEXT"}


class DashIdCommand(click.Command):
    """A command for one object, whose id may begin with a dash, as Flexport's sometimes do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """An argument with a single dash that is not an option of this command is the id."""
        options = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        for place, argument in enumerate(args):
            if argument == "--":
                break
            if argument.startswith("-") and not argument.startswith("--") and argument not in options:
                args = [*args[:place], *args[place + 1 :], "--", argument]
                break
        return super().parse_args(ctx, args)


class DefaultShowGroup(click.Group):
    """A group whose default command is `show`: `shipments 910234` is `shipments show 910234`.

    A reference has a digit, which no command has.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and its arguments."""
        if args and self.get_command(ctx, args[0]) is None and any(char.isdigit() for char in args[0]):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


def group_of(resource: ResourceSpec) -> click.Group:
    """The commands of one resource."""
    group = DefaultShowGroup(resource.route, help=resource.about)
    group.add_command(_list(resource))
    group.add_command(_show(resource))
    group.add_command(refresh_command(resource.route, resource.label))
    return group


def _list(resource: ResourceSpec) -> click.Command:
    @daemon_command
    def listed(daemon: DaemonClient, out: Output, *, everything: bool, **filters: Any) -> None:
        reply = daemon.get_list(f"/{resource.route}", everything=everything, **filters)
        rows = () if out.as_json else reply.document["data"]
        out.show_list(reply, columns_of(resource.route, rows), f"No {humanize(resource.route).replace('-', ' ')}.")

    *first, last = resource.sorts
    sort = f"Sort by {', '.join(first)} or {last}. Prefix - sorts descending."
    command: Command = limit_option(listed)
    command = click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")(command)
    command = click.option("--sort", metavar="WORD", help=sort)(command)
    for name, value_type, help_text in reversed(resource.filters):
        command = filter_option(name, value_type, help_text)(command)
    about = f"List {humanize(resource.route).replace('-', ' ')}, most recently updated first."
    return click.command("list", help=about)(command)


def filter_option(name: str, value_type: str, help_text: str) -> Callable[[Command], Command]:
    """The option of a filter; the daemon checks its value."""
    option = f"--{name.replace('_', '-')}"
    if value_type == "boolean":
        return click.option(f"{option}/--no-{option[2:]}", name, default=None, help=help_text)
    return click.option(option, name, metavar=_METAVARS.get(value_type, value_type.upper()), help=help_text)


def _show(resource: ResourceSpec) -> click.Command:
    @daemon_command
    def shown(daemon: DaemonClient, out: Output, key: tuple[str, ...]) -> None:
        reply = daemon.get(f"/{resource.route}/{quote_id(' '.join(key))}")
        out.show(reply, lambda document: render.show(out, document, resource.label))

    return _object_command("show", f"Show all fields of one {resource.label}.", shown)


def refresh_command(route: str, one: str) -> click.Command:
    """`refresh` of one resource."""

    @daemon_command
    def refreshed(daemon: DaemonClient, out: Output, key: tuple[str, ...]) -> None:
        path = f"/{route}/{quote_id(' '.join(key))}"
        before = None if out.as_json else _current_state(daemon, path)
        reply = daemon.post(f"{path}/refresh")
        out.show(reply, partial(_print_refresh, out, before, f"{one} {' '.join(key)}"))

    return _object_command("refresh", f"Fetch one {one} from Flexport now and show what changed.", refreshed)


def _object_command(name: str, about: str, command: Command) -> click.Command:
    help_text = (
        f"{about}\n\nID is Flexport's ID, or a unique reference such as a number or name. It may begin with a dash; "
        "write -- before an ID that begins with two."
    )
    command = click.argument("key", metavar="ID", nargs=-1, required=True)(command)
    return click.command(name, cls=DashIdCommand, help=help_text)(command)


def _current_state(daemon: DaemonClient, path: str) -> render.Document | None:
    try:
        document: render.Document = daemon.get(path).document
    except NotFoundError:
        return None
    return document


def _print_refresh(out: Output, before: render.Document | None, named: str, after: render.Document) -> None:
    outcome, subject = after["refresh"], named[:1].upper() + named[1:]
    moved = render.diff(before, after) if before is not None else []
    if outcome == "removed":
        out.line(f"{subject} was deleted at Flexport. It is kept here and marked as deleted.")
    elif before is None or outcome == "new":
        out.line(f"{subject} was added.")
    elif outcome == "unchanged":
        out.line(f"{subject} is unchanged." + (" It was deleted at Flexport." if after["removed_at"] else ""))
    elif moved:
        out.line(f"{subject} changed:")
        out.facts(moved)
    else:
        out.line(f"{subject} changed only in fields of Flexport's raw JSON (API: ?include=raw).")


@click.command(short_help="List products, bookings and other resources.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resources(*, as_json: bool) -> None:
    """List all resources other than shipments.

    Each is a command with list, show and refresh, such as `flexportd invoices list --open`.
    """
    rows = [{"command": one.route, "one": one.label, "about": one.about} for one in RESOURCES]
    columns = (
        Column("command", lambda row: row["command"]),
        Column("description", lambda row: row["about"], narrows=True),
    )
    reply = DaemonResponse(json.dumps({"data": rows, "next": None, "as_of": None}).encode())
    Output.standard(as_json=as_json).show_list(reply, columns, "")


GROUPS = {resource.route: group_of(resource) for resource in RESOURCES}
