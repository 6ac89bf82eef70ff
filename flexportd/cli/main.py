"""The `flexportd` command: runs a subcommand, and turns exceptions into error messages and exit codes."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import click

from flexportd import __version__
from flexportd.cli.command import Invocation
from flexportd.cli.commands import (
    bookings,
    completion,
    config,
    dead,
    deliveries,
    demo,
    documents,
    drift,
    events,
    exceptions,
    gaps,
    init,
    invoices,
    jobs,
    keys,
    notify,
    openapi,
    operations,
    products,
    queue,
    resources,
    sandbox,
    search,
    serve,
    shares,
    shipments,
    status,
    sync,
    webhook,
    why,
)
from flexportd.cli.exit_codes import INTERRUPTED, Exit, exit_of
from flexportd.cli.output import reader_is_gone
from flexportd.errors import FlexportdError, NotRunningError
from flexportd.escape import escape_control

NAME = "flexportd"
_MESSAGE = 2000  # characters of one message


HelpLine = tuple[tuple[click.Command, ...], str]
"""Commands that share a line, and its text."""


class HelpMenu(click.Group):
    """The help of `flexportd` itself: all commands on one screen, grouped by purpose."""

    lines: list[tuple[str, str, str]]  # purpose, name or names, text

    def add_section(self, purpose: str, commands: Iterable[click.Command | HelpLine]) -> None:
        """Add commands of one purpose, in this order; related commands may share a line."""
        if not hasattr(self, "lines"):
            self.lines = []
        for entry in commands:
            group, about = entry if isinstance(entry, tuple) else ((entry,), "")
            for command in group:
                self.add_command(command)
            self.lines.append((purpose, ", ".join(command.name or "" for command in group), about))

    def add_unlisted(self, commands: Iterable[click.Command]) -> None:
        """Add commands without a line on the screen: `resources` lists them."""
        for command in commands:
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click names it)
        """The commands in the order of the screen, then the unlisted ones."""
        listed = [name for _, names, _ in self.lines for name in names.split(", ")]
        return list(dict.fromkeys((*listed, *self.commands)))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, description, commands by purpose, options: less than 24 lines of 80 columns."""
        formatter.write(f"Usage: {ctx.command_path} [--config FILE] COMMAND ...\n\n{self.help}\n\n")
        room = max(len(purpose) for purpose, _, _ in self.lines) + 2
        names = max(len(name) for _, name, _ in self.lines) + 1
        before = None
        for purpose, name, text in self.lines:
            title = "" if purpose == before else purpose
            about = text or self.commands[name].get_short_help_str(limit=79 - room - names)
            formatter.write(f"{title:<{room}}{name:<{names}}{about}\n")
            before = purpose
        formatter.write("\n")
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                formatter.write(f"{record[0]:<{room + names}}{record[1]}\n")


@click.group(cls=HelpMenu, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file (default: ./flexportd.toml, ...).",
)
@click.version_option(__version__, prog_name=NAME, message="%(prog)s %(version)s", help="Show the version and exit.")
@click.pass_context
def root(context: click.Context, config: Path | None) -> None:
    """Keep a live, trustworthy copy of your Flexport freight data."""
    context.obj = Invocation(config)
    if context.invoked_subcommand != "serve":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # closing the terminal ends the command


_QUEUE_AND_JOBS = ((queue.queue, jobs.jobs), "Manage the event queue and scheduled jobs.")
_GAPS_AND_DRIFT = ((gaps.gaps, drift.drift), "Show missed webhooks and undocumented API fields.")
_CONFIGURATION = ((init.init, config.config), "Write, check or show the configuration.")
_ACCESS = ((keys.keys, shares.shares), "Manage API keys and share links.")
_TOOLS = ((openapi.openapi, completion.completion), "Print the API description or shell completion.")
_NOTIFICATIONS = ((notify.notify, deliveries.deliveries), "Show notification rules, channels and messages.")
_SYNC_AND_WRITES = ((sync.sync, operations.operations), "Sync with Flexport; follow and decide writes to it.")
_FAILURES = ((dead.dead, webhook.webhook), "Retry failed work; sign and send test webhooks.")
_LOOKUP = ((search.search, why.why), "Find by any reference; show how data changed.")
_STATUS = ((status.status, exceptions.exceptions), "Show daemon status, freight that needs attention.")
for purpose, commands in {
    "Start": (demo.demo, serve.serve, sandbox.sandbox),
    "View": (
        _STATUS, shipments.shipments, resources.resources, events.events, _LOOKUP, _NOTIFICATIONS,
        _GAPS_AND_DRIFT, _QUEUE_AND_JOBS,
    ),
    "Repair": (_SYNC_AND_WRITES, _FAILURES),
    "Set up": (_CONFIGURATION, _ACCESS, _TOOLS),
}.items():  # fmt: skip
    root.add_section(purpose, commands)
for module, name in ((bookings, "bookings"), (documents, "documents"), (invoices, "invoices"), (products, "products")):
    module.add_to(resources.GROUPS[name])
root.add_unlisted(resources.GROUPS.values())


def main() -> None:
    """Run the command line, and exit."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Every error becomes a message on standard error."""
    _make_printable()
    code = _invoke(arguments)
    for stream in (sys.stdout, sys.stderr):
        if reader_is_gone(stream):
            _silence_stream(stream)
    return code


def _invoke(arguments: Sequence[str] | None) -> int:
    try:
        code = root.main(arguments, prog_name=NAME, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except SystemExit as error:
        # click exits with 1 if the reader of a pipe has closed it; no flexportd command raises SystemExit.
        return _on_broken_pipe() if error.code == 1 else Exit.FAILED
    except Exception as error:  # noqa: BLE001 (the last place to report an error)
        return next(handle for kind, handle in _ERROR_HANDLERS.items() if isinstance(error, kind))(error)
    return int(code) if isinstance(code, int) else Exit.DONE


def _make_printable() -> None:
    """Escape characters that the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _on_broken_pipe(error: BrokenPipeError | None = None) -> int:
    """Stdout was closed by its reader, such as `head` (EPIPE): this is no failure."""
    if reader_is_gone(sys.stdout):
        return Exit.DONE
    return _print_error([f"{error or 'The connection was closed by the other side'}"], Exit.FAILED)


def _silence_stream(stream: IO[str]) -> None:
    """Discard what could not be written, so that the interpreter does not retry at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _on_usage_error(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    hints = [f"{context.command_path} --help"] if context is not None else []
    sentence = " ".join(error.format_message().split())  # choices come as lines
    return _print_error([sentence], Exit(error.exit_code), hints)


def _on_known_error(error: FlexportdError) -> int:
    hints = list(getattr(error, "__notes__", []))
    if isinstance(error, NotRunningError) and not hints:
        hints = ["flexportd serve"]
    sentences = getattr(error, "problems", None) or [str(error)]
    return _print_error(sentences, exit_of(error), hints)


def _on_os_error(error: OSError) -> int:
    if error.filename is None:
        _silence_stream(sys.stdout)  # standard output could not be written
    prefix = f"{error.filename}: " if error.filename is not None else ""
    return _print_error([f"{prefix}{error.strerror or error}"], Exit.FAILED)


def _on_unexpected_error(error: Exception) -> int:
    if os.environ.get("FLEXPORTD_DEBUG"):
        traceback.print_exception(error)
    sentence = f"Unexpected error: {type(error).__name__}: {error}; set FLEXPORTD_DEBUG=1 to show the traceback"
    return _print_error([sentence], Exit.FAILED)


def _print_error(sentences: Sequence[str], code: Exit, hints: Sequence[str] = ()) -> int:
    with contextlib.suppress(BrokenPipeError):  # stderr was closed; the exit code remains
        for sentence in sentences:
            click.echo(f"{NAME}: {escape_control(sentence, _MESSAGE)}", err=True)
        for hint in hints:
            click.echo(f"Try: {escape_control(hint, _MESSAGE)}", err=True)
    return code


_ERROR_HANDLERS: dict[type[Exception], Callable[[Any], int]] = {
    click.ClickException: _on_usage_error,
    FlexportdError: _on_known_error,
    BrokenPipeError: _on_broken_pipe,
    OSError: _on_os_error,
    Exception: _on_unexpected_error,
}
