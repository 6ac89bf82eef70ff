"""How commands fail: one sentence, a code, and never a traceback."""

import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from flexportd import errors
from flexportd.cli.exit_codes import Exit, exit_of
from flexportd.cli.main import root, run


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No configuration but the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def raising(monkeypatch):
    """Make `flexportd raise` end with an error."""

    def make(error: BaseException) -> int:
        def body() -> None:
            raise error

        monkeypatch.setitem(root.commands, "raise", click.Command("raise", callback=body))
        return run(["raise"])

    return make


def _kinds(kind: type[errors.FlexportdError]) -> list[type[errors.FlexportdError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _kinds(child))]


def test_every_error_of_ours_has_its_code():
    codes = {errors.ConfigError: 2, errors.InvalidError: 2, errors.NotRunningError: 3, errors.NotFoundError: 4}
    for kind in _kinds(errors.FlexportdError):
        known = [code for parent, code in codes.items() if issubclass(kind, parent)]
        assert exit_of(kind.__new__(kind)) == (known or [Exit.FAILED])[0]


def test_an_error_is_one_sentence_and_a_hint(raising, capsys):
    assert raising(errors.NotRunningError("no daemon answers")) == 3
    found = capsys.readouterr()
    assert found.err == "flexportd: no daemon answers\nTry: flexportd serve\n"
    assert found.out == ""


def test_every_problem_of_a_configuration_has_its_line(raising, capsys):
    assert raising(errors.ConfigError(["one", "two"])) == 2
    assert capsys.readouterr().err == "flexportd: one\nflexportd: two\n"


def test_an_unknown_error_is_a_sentence_with_its_type(raising, capsys, monkeypatch):
    assert raising(RuntimeError("odd\x1b[2J")) == 1
    text = capsys.readouterr().err
    assert text.startswith("flexportd: Unexpected error: RuntimeError: odd\\u001b[2J")
    assert "FLEXPORTD_DEBUG=1" in text
    monkeypatch.setenv("FLEXPORTD_DEBUG", "1")
    assert raising(RuntimeError("odd")) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_the_system_names_the_file(raising, capsys):
    assert raising(PermissionError(13, "Permission denied", "/x/y")) == 1
    assert capsys.readouterr().err == "flexportd: /x/y: Permission denied\n"


def test_ctrl_c_ends_quietly(raising, capsys):
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nosuch"], "flexportd --help"),
        (["dead", "show"], "flexportd dead show --help"),
        (["shipments", "list", "--limit", "0"], "flexportd shipments list --help"),
        (["events", "list", "--state", "odd"], "flexportd events list --help"),
        (["dead", "discard", "7"], "flexportd dead discard --help"),
        (["webhook", "send"], "flexportd webhook send --help"),
        (["demo", "--port", "70000"], "flexportd demo --help"),
    ],
)
def test_wrong_usage_is_a_sentence_and_the_way_to_the_help(capsys, arguments, hint):
    assert run(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("flexportd: ")
    assert lines[-1] == f"Try: {hint}"


@pytest.mark.parametrize(
    "command", ["status", "serve", "config check", "queue stats", "events tail", "init --listen x"]
)
def test_a_broken_configuration_is_told_by_every_command(capsys, monkeypatch, command):
    Path("flexportd.toml").write_text("[server]\nlisten = 7\n[bogus]\n", encoding="utf-8")
    if command.startswith("init"):
        Path("flexportd.toml").unlink()
    assert run(command.split()) == 2
    assert "flexportd: " in capsys.readouterr().err


def test_a_reader_that_goes_away_ends_it_quietly():
    code = (
        "import sys\nfrom flexportd.cli.main import root, run\nimport click\n"
        "def body():\n    for _ in range(100000): click.echo('line')\n"
        "root.commands['much'] = click.Command('much', callback=body)\nsys.exit(run(['much']))\n"
    )
    asked = [sys.executable, "-c", code]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_a_full_disk_is_told():
    asked = [sys.executable, "-m", "flexportd", "--help"]
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, text=True, timeout=10, check=False)
    assert (found.returncode, found.stderr) == (1, "flexportd: No space left on device\n")


def test_a_terminal_that_knows_ascii_only_gets_escapes(tmp_path):
    Path("flexportd.toml").write_text('[dashboard]\ntitle = "上海"\n', encoding="utf-8")
    environ = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    asked = [sys.executable, "-m", "flexportd", "config", "show"]
    found = subprocess.run(asked, env=environ, capture_output=True, timeout=10, check=False)
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"\\u4e0a\\u6d77" in found.stdout


INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "flexportd.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
import flexportd.__main__
"""


def test_ctrl_c_while_the_command_is_being_loaded_prints_no_traceback():
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stderr) == (-signal.SIGINT, "")
