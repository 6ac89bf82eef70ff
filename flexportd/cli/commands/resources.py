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

_ABBREVIATIONS = {"sku": "SKU", "po": "purchase order", "hs": "HS", "iata": "IATA code", "unlocode": "UN/LOCODE"}
_BOUND_WORDS = {"since": "on or after", "after": "on or after", "before": "before"}
_BOOLEAN_TEXTS = {
    "adds_up": "whose lines add up to the total",
    "archived": "archived",
    "dangerous": "with dangerous goods",
    "open": "with an outstanding amount",
    "removed": "deleted at Flexport",
}


class DashIdCommand(click.Command):
    """A command for one object, whose id may begin with a dash, as Flexport's sometimes do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What begins with a single dash and is no option of this command is the id."""
        options = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        for place, found in enumerate(args):
            if found == "--":
                break
            if found.startswith("-") and not found.startswith("--") and found not in options:
                args = [*args[:place], *args[place + 1 :], "--", found]
                break
        return super().parse_args(ctx, args)


class DefaultShowGroup(click.Group):
    """Shows what is named where no command is: `shipments 910234` is `shipments show 910234`.

    A reference holds a digit, which no command does.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, and its arguments."""
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

    words = resource.sorts.split()
    sort = f"Sort by {', '.join(words[:-1])} or {words[-1]}. Prefix - sorts descending."
    command: Command = limit_option(listed)
    command = click.option("--all", "everything", is_flag=True, help="List all, without a row limit.")(command)
    command = click.option("--sort", metavar="WORD", help=sort)(command)
    for name, takes in reversed(resource.filters.items()):
        command = filter_option(name, takes)(command)
    help_text = f"List {humanize(resource.route).replace('-', ' ')}, most recently updated first."
    return click.command("list", help=help_text)(command)


def filter_option(name: str, takes: str) -> Callable[[Command], Command]:
    """The option of one filter; what is given goes to the daemon, which checks it."""
    option, about = name.replace("_", "-"), _about(name)
    if takes == "boolean":
        flags = f"--{option}/--no-{option}"
        return click.option(flags, name, default=None, help=f"Limit to those {_BOOLEAN_TEXTS[name]}, or exclude them.")
    stem, _, edge = name.rpartition("_")
    told = {
        "words": ("WORDS", f"{about} (separate several with commas)."),
        "text": ("TEXT", f"{about} (exact match)."),
        "substring": ("TEXT", "Text in any name or number." if name == "q" else f"Text in the {_words(name)}."),
        "id": ("ID", f"ID of the {_words(name)}."),
        "day": ("DAY", f"{_about(stem)} {_BOUND_WORDS.get(edge, edge)} this day."),
        "time": ("TIME", f"{_about(stem)} {_BOUND_WORDS.get(edge, edge)} this day or time."),
    }
    metavar, help_text = told[takes]
    return click.option(f"--{option}", name, metavar=metavar, help=help_text)


def _about(name: str) -> str:
    words = _words(name)
    return words[:1].upper() + words[1:]


def _words(name: str) -> str:
    return " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))


def _show(resource: ResourceSpec) -> click.Command:
    @daemon_command
    def shown(daemon: DaemonClient, out: Output, key: tuple[str, ...]) -> None:
        reply = daemon.get(f"/{resource.route}/{quote_id(' '.join(key))}")
        out.show(reply, lambda found: render.show(out, found, resource.label))

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
        found: render.Document = daemon.get(path).document
    except NotFoundError:
        return None
    return found


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
