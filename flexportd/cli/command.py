"""What commands that ask the daemon have in common: the configuration, the socket, `--json`, lists."""

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
    """What stood before the command."""

    config: Path | None = None

    @functools.cached_property
    def loaded(self) -> "LoadedConfig":
        """The configuration. Raises ConfigError."""
        from flexportd.settings import load

        return load(self.config)

    @functools.cached_property
    def client(self) -> "DaemonClient":
        """The daemon that this configuration leads to."""
        from flexportd.cli.client import DaemonClient

        settings = self.loaded.settings
        most_rows = settings.api.max_page_size
        return DaemonClient(settings.storage.control_socket, most_rows=most_rows, start=self.command_line("serve"))

    def command_line(self, command: str) -> str:
        """A command as it has to be typed to reach the same daemon."""
        import shlex

        named = "" if self.config is None else f"--config {shlex.quote(str(self.config))} "
        return f"flexportd {named}{command}"


class NearestChoice(click.Choice[str]):
    """One of a few words; for a mistyped one the nearest is named."""

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
    """Hand the command the daemon and the output, and add `--json`."""

    @click.option("--json", "as_json", is_flag=True, help="Print the API's JSON response.")
    @click.pass_obj
    @functools.wraps(command)
    def asked(invocation: Invocation, /, *, as_json: bool, **options: Any) -> Any:
        return command(invocation.client, Output.standard(as_json=as_json), **options)

    return asked


def limit_option(command: Command) -> Command:
    """Add `--limit`."""
    return click.option("--limit", type=click.IntRange(1), help="Maximum number of rows.")(command)
