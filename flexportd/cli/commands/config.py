"""`flexportd config`: checks the configuration, and shows the values in force."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from flexportd.cli.command import Invocation
from flexportd.cli.output import Column, DaemonResponse, Output
from flexportd.errors import ConfigError

if TYPE_CHECKING:
    from flexportd.settings import Settings


@click.group()
def config() -> None:
    """Check or show the configuration."""


@config.command()
@click.pass_obj
def check(invocation: Invocation) -> None:
    """Check the configuration and report every problem.

    This includes its directories, TLS files and sockets. Nothing is created or changed.
    """
    from flexportd.cli.config_check import missing_addresses, problems

    loaded, out = invocation.loaded, Output.standard()
    if errors := list(problems(loaded.settings)):
        raise ConfigError(errors)
    out.line(f"OK: {loaded.path}" if loaded.path else "OK: no configuration file found; defaults apply")
    for note in (*loaded.notes, *missing_addresses(loaded.settings.server.listen)):
        out.line(f"Note: {note}")
    for step in _missing_settings(loaded.settings):
        out.line(f"Note: {step}")


def _missing_settings(settings: "Settings") -> Iterator[str]:
    """Settings that a new installation usually needs; none is an error, since each may be omitted."""
    if not settings.webhook.secrets:
        yield "[webhook] secrets is not set: every webhook is refused. `flexportd init` creates a secret."
    flexport = settings.flexport
    if flexport.api_key is None and flexport.client_id is None:
        yield (
            "No Flexport API credentials are set: set [flexport] api_key, or client_id and client_secret. Without "
            "them, flexportd relies on webhooks only: no full sync, no recovery of missed events, no documents."
        )
    if settings.server.public_url is None:
        yield (
            "[server] public_url is not set. Behind a proxy, set it to the address that people open, such as "
            "https://freight.example.com: links and the dashboard's buttons need it."
        )


@config.command()
@click.option("--origin", is_flag=True, help="Show the source of each value.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(invocation: Invocation, *, origin: bool, as_json: bool) -> None:
    """Show every key with its current value; secrets are masked."""
    from flexportd.settings import describe_values as values

    loaded, out = invocation.loaded, Output.standard(as_json=as_json)
    rows = [dict(zip(("key", "value", "origin"), row, strict=True)) for row in values(loaded)]
    columns = [Column("key", lambda row: row["key"]), Column("value", lambda row: row["value"], narrows=True)]
    if origin:
        columns.append(Column("origin", lambda row: row["origin"], narrows=True))
    document = {"path": None if loaded.path is None else str(loaded.path), "data": rows}
    out.show_list(DaemonResponse.of(document), columns, "")
