"""`flexportd config`: whether the configuration can be used, and what is in force."""

import json

import click

from flexportd.cli.asking import Invocation
from flexportd.cli.output import Column, Output, Reply
from flexportd.errors import ConfigError


@click.group()
def config() -> None:
    """Check the configuration; show every value in force."""


@config.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Tell everything that is wrong with the configuration, or OK.

    Also whether its folders, TLS files and sockets can be used. Nothing is made or changed.
    """
    from flexportd.cli.surroundings import problems

    loaded, out = invocation.loaded, Output.standard()
    found = list(problems(loaded.settings))
    if found:
        raise ConfigError(found)
    out.line(f"OK: {loaded.path}" if loaded.path else "OK: there is no configuration file, the defaults hold")
    for note in loaded.notes:
        out.line(f"Note: {note}")
    if not loaded.settings.webhook.secrets:
        out.line("Note: [webhook] secrets is not set, so every webhook is refused; `flexportd init` makes one")


@config.command()
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(invocation: Invocation, *, origin: bool, as_json: bool) -> None:
    """Show every key with the value in force; secrets are ***."""
    from flexportd.settings import show as values

    loaded, out = invocation.loaded, Output.standard(as_json=as_json)
    rows = [dict(zip(("key", "value", "origin"), row, strict=True)) for row in values(loaded)]
    columns = [Column("key", lambda row: row["key"]), Column("value", lambda row: row["value"], narrows=True)]
    if origin:
        columns.append(Column("origin", lambda row: row["origin"], narrows=True))
    document = {"path": None if loaded.path is None else str(loaded.path), "data": rows}
    out.listed(Reply(json.dumps(document).encode()), columns, "")
