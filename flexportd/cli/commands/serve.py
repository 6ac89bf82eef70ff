"""`flexportd serve`: the daemon in the foreground."""

import sys
from typing import TYPE_CHECKING

import click

from flexportd.cli.command import Invocation

if TYPE_CHECKING:
    from flexportd.daemon.app import Daemon


@click.command()
@click.pass_obj
def serve(invocation: Invocation) -> int:
    """Run the daemon in the foreground.

    Ctrl-C or SIGTERM stops it cleanly; SIGHUP reloads the configuration.
    """
    from flexportd.daemon.lifecycle import run

    return run(invocation.loaded, invocation.config, _print_address)


def _print_address(daemon: "Daemon") -> None:
    """Print the dashboard's address on a terminal; under systemd it is in the log."""
    from flexportd.expose.security.access_policy import configured_url

    if not sys.stdout.isatty():
        return
    url = configured_url(daemon.display, daemon.server)
    where = f"Dashboard: {url}/" if url else f"Listening on {', '.join(daemon.addresses)}"
    click.echo(f"\n  {where}\n  Press Ctrl-C to stop.\n")
