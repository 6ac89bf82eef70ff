"""Shared by commands: configuration, client of the daemon, `--json` and `--limit`."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flexportd.cli.output import Output

if TYPE_CHECKING:
    from flexportd.cli.client import DaemonClient
    from flexportd.settings import LoadedConfig

Command = Callable[..., Any]


@dataclass(frozen=True)
class Invocation:
    """The options before the command."""

    config: Path | None = None

    @functools.cached_property
    def loaded(self) -> "LoadedConfig":
        """The configuration. Raises ConfigError."""
        from flexportd.settings import load

        return load(self.config)

    @functools.cached_property
    def client(self) -> "DaemonClient":
        """The client of the daemon with this configuration."""
        from flexportd.cli.client import DaemonClient

        settings = self.loaded.settings
        most_rows = settings.api.max_page_size
        return DaemonClient(settings.storage.control_socket, most_rows=most_rows, start=self.command_line("serve"))

    def command_line(self, command: str) -> str:
        """The command line of a command for the same daemon."""
        import shlex

        option = "" if self.config is None else f"--config {shlex.quote(str(self.config))} "
        return f"flexportd {option}{command}"


class NearestChoice(click.Choice[str]):
    """A choice that suggests the closest match for a mistyped word."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word. Raises BadParameter."""
        from flexportd.escape import closest_match

        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = closest_match(str(value), map(str, self.choices))
            if near is None:
                raise
            raise click.BadParameter(f"{error.message.rstrip('.')}; did you mean {near}?", ctx, param) from None


def daemon_command(command: Command) -> Command:
    """Pass the client and the output to a command, and add `--json`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the API's JSON response.")
    @click.pass_obj
    @functools.wraps(command)
    def with_client(invocation: Invocation, /, *, as_json: bool, **options: Any) -> Any:
        return command(invocation.client, Output.standard(as_json=as_json), **options)

    return with_client


def limit_option(command: Command) -> Command:
    """Add `--limit`."""
    return click.option("--limit", type=click.IntRange(1), help="Maximum number of rows.")(command)


def local_user() -> str:
    """Who runs the command: `maya@freight-1`."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
