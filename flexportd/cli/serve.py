"""`flexportd serve`: the daemon in the foreground."""

import click

from flexportd.cli.asking import Invocation


@click.command()
@click.pass_obj
def serve(invocation: Invocation) -> int:
    """Run the daemon in the foreground.

    Ctrl-C or SIGTERM ends it in order; SIGHUP re-reads the configuration.
    """
    from flexportd.serve import run

    return run(invocation.loaded, invocation.config)
