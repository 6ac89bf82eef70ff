"""docs/cli.md, made from the commands themselves: `python -m flexportd.cli.docs` prints it."""

from collections.abc import Iterator

import click

from flexportd.cli.exit_codes import INTERRUPTED, MEANINGS
from flexportd.cli.main import NAME, root

_COLUMNS = 80
_HEAD = """\
# Commands

<!-- Made by `python -m flexportd.cli.docs` from flexportd/cli; CI compares. -->

Commands connect to the running daemon over its control socket, which only the daemon's user can open. `--config` (see
[configuration.md](configuration.md)) selects the daemon. With `--json`, a command prints the API's response unchanged:
indented on a terminal, on one line elsewhere. All other output is for people and may change.

Write `--` before an argument that begins with a dash.
"""
_EXITS = """\
## Exit codes

| code | meaning |
|---|---|
{rows}

Errors are printed on standard error, with a `Try:` line where that helps. `FLEXPORTD_DEBUG=1` adds the traceback of an
unexpected error. `NO_COLOR` turns colors off.
"""


def render() -> str:
    """The text of docs/cli.md."""
    rows = [f"| {code:d} | {meaning} |" for code, meaning in MEANINGS.items()]
    rows.append(f"| {INTERRUPTED} | Ctrl-C (`serve`, `demo` and `sandbox` end with 0) |")
    return "\n".join([_HEAD, _EXITS.format(rows="\n".join(rows)), *_sections(root, NAME, None)])


def _sections(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    # With the command's own settings, as when it runs: click keeps the first help option it makes for a command.
    context = click.Context(
        command,
        parent,
        path.rpartition(" ")[2],
        terminal_width=_COLUMNS,
        max_content_width=_COLUMNS,
        **command.context_settings,
    )
    yield f"## `{path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _sections(child, f"{path} {name}", context)


if __name__ == "__main__":
    click.echo(render(), nl=False)
