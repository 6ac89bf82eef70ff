"""Commands against a daemon of their own, each a process as a person starts it."""

import base64
import io
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from flexportd.cli.commands.webhook import SHIPMENT
from tests import fork_server
from tests.fork_server import ForkedProcess
from tests.free_port import free_port

COMMAND = [sys.executable, "-m", "flexportd"]
DEADLINE = 20.0


class Lines:
    """What a process says, line by line, as it says it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._waiting: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(io.TextIOWrapper(stream, encoding="utf-8"),))
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._waiting.put(line)

    def until(self, part: str) -> str:
        """Wait for a line that holds `part`."""
        while True:
            try:
                line = self._waiting.get(timeout=DEADLINE)
            except queue.Empty:
                raise AssertionError(f"{part!r} was not said, but {self.said}") from None
            self.said.append(line)
            if part in line:
                return line

    def close(self) -> None:
        self._thread.join()


class Place:
    """A folder with a configuration, and commands that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        homes = {
            name: str(folder / name.lower()) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")
        }
        self.environ = kept | homes | {"TMPDIR": str(folder)}

    def run(self, *arguments: str, code: int = 0, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must have this exit code and no traceback."""
        done = fork_server.run(
            ["flexportd", *arguments], cwd=self.folder, env=self.environ, given=given, timeout=DEADLINE
        )
        assert done.returncode == code, (arguments, done)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    @contextmanager
    def started(self, *arguments: str) -> Iterator[tuple[ForkedProcess, Lines, Lines]]:
        """A command that stays: the process, its output, its errors. It must end by itself or by the test's signal."""
        process = ForkedProcess(
            ["flexportd", *arguments], cwd=self.folder, env=self.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = Lines(process.stdout), Lines(process.stderr)
        try:
            yield process, out, err
        finally:
            process.kill()
            process.wait()
            out.close()
            err.close()

    @contextmanager
    def serving(self) -> Iterator[ForkedProcess]:
        with self.started("serve") as (process, _, err):
            err.until('"daemon_started"')
            yield process

    def interrupt(self, process: ForkedProcess, number: int = signal.SIGINT) -> int:
        process.send_signal(number)
        return process.wait(DEADLINE)


def _made(folder: Path) -> Place:
    place = Place(folder)
    place.run("init", "--data-dir", "data", "--listen", f"127.0.0.1:{free_port()}")
    return place


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Iterator[Place]:
    """One daemon for the tests that leave it running."""
    place = _made(tmp_path_factory.mktemp("cli"))
    assert place.run("config", "check").stdout.startswith("OK: ")
    with place.serving() as process:
        yield place
        assert place.interrupt(process) == 0


@pytest.mark.parametrize(
    "command",
    [
        "--help", "shipments list --all --json", "status", "openapi", "dead export",
        "events tail --lines 0",
    ],
)  # fmt: skip
def test_a_reader_that_has_seen_enough_is_no_failure(here, command):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run(
            [*COMMAND, *command.split()], cwd=here.folder, env=here.environ, stdin=subprocess.DEVNULL,
            stdout=writing, stderr=subprocess.PIPE, timeout=DEADLINE, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (found.returncode, found.stderr) in [(0, b""), (0, b"0 dead letters exported.\n")]


def test_a_failure_that_nobody_reads_keeps_its_code(here):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run(
            [*COMMAND, "shipments", "show", "1"], cwd=here.folder, env=here.environ, stdin=subprocess.DEVNULL,
            stdout=writing, stderr=writing, timeout=DEADLINE, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert found.returncode == 4


@pytest.fixture
def broken(here) -> str:
    """A signed body that is no JSON has become a dead letter; its id."""
    here.run("webhook", "send", "-", given=b'{"broken": \xff' + os.urandom(4).hex().encode())
    return str(here.json("dead", "list")["data"][0]["id"])


def test_an_example_becomes_a_shipment_that_every_command_shows(here):
    sent = here.run("webhook", "send", "--example")
    assert "accepted" in sent.stdout
    event_id = json.loads(sent.stdout.split(" ", 1)[1].rpartition("  (")[0])["id"]
    _until_applied(here, event_id)
    shown = here.run("shipments", "show", str(SHIPMENT)).stdout
    for part in (f"FLEX-{SHIPMENT}", "Example shipment", "Timeline", "Legs", "Containers", "Departed"):
        assert part in shown
    assert here.json("shipments", "show", f"FLEX-{SHIPMENT}")["id"] == SHIPMENT
    assert f"FLEX-{SHIPMENT}" in here.run("shipments", "list", "--mode", "ocean", "--no-archived").stdout
    assert here.json("shipments", "list", "--q", "nothing like it")["data"] == []
    assert event_id in [row["id"] for row in here.json("events", "list", "--shipment", str(SHIPMENT))["data"]]
    assert "Payload" in here.run("events", "show", event_id).stdout
    assert "queued for replay" in here.run("events", "replay", event_id).stdout


def _until_applied(place: Place, event_id: str) -> None:
    for _ in range(50):  # each look takes as long as a process does
        if place.json("events", "show", event_id)["state"] == "applied":
            return
    raise AssertionError("the event was not applied")


def test_the_status_is_told_in_words_and_as_json(here):
    document = here.json("status")
    assert document["ready"] is True
    words = here.run("status").stdout
    assert f"flexportd {document['version']} is ready" in words
    assert "queue" in words


def test_the_json_is_the_apis_own(here):
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(here.folder / "data" / "control.sock"))
        raw.sendall(b"GET /api/v1/shipments?limit=1 HTTP/1.0\r\nHost: flexportd\r\n\r\n")
        with raw.makefile("rb") as answer:
            body = answer.read().partition(b"\r\n\r\n")[2].decode()
    assert here.run("shipments", "list", "--limit", "1", "--json").stdout == body + "\n"


def test_the_queue_is_paused_and_resumed(here):
    here.run("queue", "pause")
    assert here.json("queue", "stats")["paused"] is True
    assert "PAUSED" in here.run("status").stdout
    here.run("webhook", "send", "--example")
    assert len(here.json("queue", "list", "--state", "ready")["data"]) == 1
    assert "/shipment_leg#" in here.run("queue", "list").stdout
    here.run("queue", "resume")
    assert "paused  no" in here.run("queue", "stats").stdout


def test_a_dead_letter_is_shown_with_its_bytes(here, broken):
    shown = here.run("dead", "show", broken).stdout
    assert "Attempts" in shown
    assert '{"broken": \\xff' in shown
    assert broken in here.run("dead", "list", "--all").stdout


def test_a_dead_letter_is_tried_again_and_discarded(here, broken):
    found = here.run("dead", "retry", broken, "999999", code=4)
    assert f"Dead letter {broken} queued for retry" in found.stdout
    assert "999999" in found.stderr
    for _ in range(50):
        if any(row["id"] == broken for row in here.json("dead", "list")["data"]):
            break
    here.run("dead", "discard", broken, "--reason", "it is no event")
    here.run("dead", "discard", broken, "--reason", "again", code=1)
    assert broken not in [row["id"] for row in here.json("dead", "list")["data"]]
    (row,) = [row for row in here.json("dead", "list", "--discarded")["data"] if row["id"] == broken]
    assert row["discard_reason"] == "it is no event"
    assert "@" in row["discarded_by"]


def test_all_dead_letters_of_a_kind_are_tried_again(here, broken):
    assert "0 dead letters" in here.run("dead", "retry", "--all", "--type", "/shipment#created").stdout
    assert here.json("dead", "retry", "--all")["retried"] >= 1


def test_dead_letters_are_exported_whole(here, broken):
    here.run("dead", "export", "--output", "dead.ndjson")
    kept = here.folder / "dead.ndjson"
    rows = {row["id"]: row for row in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
    assert base64.b64decode(rows[broken]["payload_base64"]).startswith(b'{"broken": \xff')
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(here.run("dead", "export").stdout.splitlines()) == len(rows)


@pytest.mark.parametrize(
    "arguments",
    [("shipments", "show", "5"), ("shipments", "show", "--", "-5"), ("events", "show", "../../etc"), ("dead", "show", "x"),
     ("events", "replay", "0"), ("dead", "discard", "0", "--reason", "x")],
)  # fmt: skip
def test_what_there_is_not_exits_with_four(here, arguments):
    found = here.run(*arguments, code=4)
    assert found.stderr.startswith("flexportd: ")
    assert found.stdout == ""


@pytest.mark.parametrize("option", [("--limit", "100000"), ("--sort", "weight"), ("--eta-before", "soon")])
def test_a_parameter_that_the_daemon_refuses_is_wrong_usage(here, option):
    found = here.run("shipments", "list", *option, code=2)
    assert option[0].removeprefix("--").replace("-", "_") in found.stderr


def test_text_that_is_no_utf_8_finds_nothing(here):
    assert here.run("shipments", "list", "--q", "\udcff").stdout == "No shipments.\n"


def test_an_unsigned_webhook_is_refused(here):
    assert "401" in here.run("webhook", "send", "--example", "--no-signature", code=1).stdout


def test_a_second_daemon_on_the_folder_fails_with_a_sentence(here):
    found = here.run("serve", code=1)
    assert "is in use by another flexportd (process" in found.stderr


def test_a_port_that_is_taken_is_a_matter_of_configuration(here, tmp_path):
    other = Place(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other.run("init", "--data-dir", "data", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert "listen" in other.run("serve", code=2).stderr


def test_without_a_daemon_commands_exit_with_three(tmp_path):
    place = _made(tmp_path)
    found = place.run("status", code=3)
    assert found.stderr.endswith("Try: flexportd serve\n")
    place.run("webhook", "send", "--example", code=3)


def test_a_configuration_that_cannot_be_used_exits_with_two(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "flexportd.toml").write_text("[queue]\nworkers = 0\nlease = 5\n", encoding="utf-8")
    for command in (("serve",), ("status",), ("config", "check")):
        found = place.run(*command, code=2)
        assert "flexportd.toml:2" in found.stderr
        assert "flexportd.toml:3" in found.stderr


def test_the_tail_follows_across_a_restart(tmp_path):
    """Events show as they come; while the daemon is away that is said once."""
    place = _made(tmp_path)
    with place.serving() as process:
        place.run("webhook", "send", "--example")
        tail = place.started("events", "tail", "--lines", "1")
        with tail as (tailing, out, err):
            out.until(f"FLEX-{SHIPMENT}")
            second = place.run("webhook", "send", "--example").stdout
            out.until(second.split('"id":"')[1].split('"')[0])
            assert place.interrupt(process, signal.SIGTERM) == 0
            err.until("waiting for it to restart")
            with place.serving() as again:
                err.until("is running again")
                third = place.run("webhook", "send", "--example").stdout
                out.until(third.split('"id":"')[1].split('"')[0])
                assert place.interrupt(tailing) == 130
                assert place.interrupt(again) == 0
    assert len([line for line in err.said if "waiting" in line]) == 1
