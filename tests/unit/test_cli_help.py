"""The help: one screen, quick, complete; and the reference page made from it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from flexportd import __version__
from flexportd.cli import docs
from flexportd.cli.commands.resources import GROUPS
from flexportd.cli.main import root, run

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found += _commands(child, (*path, name))
    return found


COMMANDS = _commands(root)
LEAVES = [path for path in COMMANDS if not any(other[: len(path)] == path for other in COMMANDS if other != path)]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_fits_one_screen(capsys, flag):
    assert run([flag]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_the_help_names_every_command_under_its_purpose(capsys):
    run(["--help"])
    text = capsys.readouterr().out
    assert [purpose in text for purpose in ("Start", "View", "Repair", "Set up")] == [True] * 4
    assert {name for name in root.commands if not re.search(rf"^.{{8}}(\w+, )?{name}[ ,]", text, re.MULTILINE)} == set(
        GROUPS
    )  # `resources` names them


def test_one_line_of_the_help_stands_for_all_resources(capsys):
    run(["--help"])
    [line] = [line for line in capsys.readouterr().out.splitlines() if " resources  " in line]
    assert "List products, bookings and other resources." in line
    run(["resources"])
    text = capsys.readouterr().out
    assert all(name in text for name in GROUPS)


def test_these_are_the_commands():
    named = {" ".join(path) for path in COMMANDS if path and path[0] not in GROUPS}
    assert named == {
        "demo", "serve", "sandbox", "status", "resources", "init", "completion", "openapi", "search",
        "config", "config check", "config show",
        "shipments", "shipments list", "shipments show", "shipments refresh", "shipments carbon",
        "shipments set",
        "operations", "operations list", "operations show", "operations approve", "operations retry",
        "operations cancel", "operations resolve",
        "events", "events list", "events show", "events replay", "events tail", "why", "gaps", "drift",
        "exceptions", "exceptions list", "exceptions show",
        "exceptions ack", "exceptions unack", "exceptions assign", "exceptions note", "exceptions snooze",
        "exceptions unsnooze",
        "queue", "queue list", "queue stats", "queue pause", "queue resume",
        "dead", "dead list", "dead show", "dead retry", "dead discard", "dead export",
        "jobs", "jobs list", "jobs show", "jobs run", "jobs pause", "jobs resume",
        "sync", "sync run", "sync status", "sync runs", "sync show", "sync pending-removals", "sync accept", "sync unreadable",
        "webhook", "webhook sign", "webhook send",
        "deliveries", "deliveries list", "deliveries show", "deliveries retry", "deliveries discard",
        "notify", "notify rules", "notify channels", "notify resume", "notify test", "notify preview", "notify explain",
        "notify digest",
        "keys", "keys create", "keys list", "keys revoke", "shares", "shares create", "shares list", "shares revoke",
    }  # fmt: skip
    for name in GROUPS:
        assert {f"{name} list", f"{name} show", f"{name} refresh"} <= {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(capsys, path):
    assert run([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: flexportd")
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from flexportd.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'aiohttp', 'pydantic', 'structlog', 'asyncio', 'ssl', 'flexportd.daemon.app', 'flexportd.settings'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=5, check=False)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.fixture(autouse=True)
def help_as_it_is_asked_for():
    """click keeps the first option for help that a command made, whoever asked: a test that ran it alone, perhaps."""
    for command in _every(root):
        command._help_option = None


def _every(command: click.Command) -> Iterator[click.Command]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from _every(child)


def test_the_version_is_told(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"flexportd {__version__}\n"


def test_no_command_shows_the_help_and_is_wrong_usage(capsys):
    assert run([]) == 2
    assert "Set up" in capsys.readouterr().err
    assert run(["queue"]) == 2


def test_the_reference_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == docs.render(), "run: python -m flexportd.cli.docs > docs/cli.md"


def test_the_reference_names_every_command_and_exit_code():
    text = docs.render()
    assert all(f"## `{' '.join(('flexportd', *path))}`" in text for path in COMMANDS)
    assert all(f"| {code} |" in text for code in (0, 1, 2, 3, 4, 130))


def test_the_reference_does_not_depend_on_the_terminal(monkeypatch):
    before = docs.render()
    monkeypatch.setenv("COLUMNS", "50")
    assert docs.render() == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_with_a_hint(capsys, shell):
    assert run(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert "_FLEXPORTD_COMPLETE" in text
    assert text.splitlines()[-1].startswith("# Save this as ")


def test_completion_knows_commands():
    environ = {**os.environ, "_FLEXPORTD_COMPLETE": "bash_complete", "COMP_WORDS": "flexportd de", "COMP_CWORD": "1"}
    asked = [sys.executable, "-m", "flexportd"]
    found = subprocess.run(asked, env=environ, capture_output=True, text=True, timeout=5, check=False)
    assert found.stdout.split() == ["plain,demo", "plain,deliveries", "plain,dead"]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_reference_shows_the_help_that_the_command_shows(path, capsys):
    assert run([*path, "--help"]) == 0
    _, head, rest = PAGE.read_text(encoding="utf-8").partition(f"## `{' '.join(('flexportd', *path))}`\n")
    assert head
    shown = rest.partition("```text\n")[2].partition("\n```")[0]
    assert capsys.readouterr().out.split() == shown.split()  # lines may break elsewhere
