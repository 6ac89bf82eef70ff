"""SIGHUP at every moment of a daemon's life: it reloads or is ignored, and never ends the process."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_crash import CONFIG, SECRET

HANGUP = 1 << (signal.SIGHUP - 1)


class Manager:
    """The socket on which a service manager receives the daemon's messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(30)

    def receive(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().split("\n"))

    def until(self, wanted: str) -> list[dict[str, str]]:
        found = [self.receive()]
        while wanted not in found[-1]:
            found.append(self.receive())
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with contextlib.closing(Manager(tmp_path / "notify.sock")) as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, unused_tcp_port: int) -> Path:
    path = tmp_path / "flexportd.toml"
    path.write_text(CONFIG.format(secret=SECRET, port=unused_tcp_port, dir=tmp_path))
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def serving(config: Path, manager: Manager, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    program = command or (sys.executable, "-m", "flexportd")
    with (config.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [*program, "--config", str(config), "serve"],
            env={**os.environ, "NOTIFY_SOCKET": str(manager.path), "FLEXPORTD_DASHBOARD__TITLE": "'Freight'"},
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def catches_hangup(pid: int) -> bool:
    """Whether the process blocks, ignores or handles SIGHUP."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = dict(line.split(":\t") for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt")))
    return any(int(mask, 16) & HANGUP for mask in masks.values())


@contextlib.contextmanager
def hung_up_all_the_time(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Send SIGHUP as often as possible, from the moment at which the program's first line has run to its end."""
    over = threading.Event()

    def send() -> None:
        while process.poll() is None and not catches_hangup(process.pid):
            pass
        while process.poll() is None and not over.wait(0.002):
            process.send_signal(signal.SIGHUP)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


def test_the_first_thing_that_the_program_does_is_to_let_sighup_wait():
    code = (
        "import signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('click', 'asyncio') or name.startswith('flexportd.cli'):\n"
        "            print(signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
        "            raise SystemExit(0)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import flexportd.__main__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_daemon_that_is_hung_up_all_its_life_starts_reloads_and_stops_in_order(config, manager):
    with serving(config, manager) as process, hung_up_all_the_time(process):
        assert manager.receive() == {"READY": "1"}
        # Whatever came before is one reload; the rest follows.
        for _ in range(3):
            start, end = manager.receive(), manager.receive()
            assert start.keys() == {"RELOADING", "MONOTONIC_USEC"}
            assert end == {"READY": "1", "STATUS": "Configuration reloaded"}
        process.terminate()
        process.terminate()
        messages = manager.until("STOPPING")
        assert messages[-1] == {"STOPPING": "1"}
        assert process.wait(20) == 0
    log = (config.parent / "log").read_text()
    # Once at the start, and at each reload.
    assert log.count("environment FLEXPORTD_DASHBOARD__TITLE: the value is in quotation marks") > 3
    assert log.count('"event": "daemon_stopped"') == 1
    assert "Traceback" not in log


BAD_RULE = '[[notify.rules]]\nname = "Slips"\non = "shipment.eta_chnged"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[queue]\nworkers = 0\n", "workers"), (BAD_RULE, "[[notify.rules]] \"Slips\" on: found 'shipment.eta_chnged'")],
    ids=["a key", "a rule"],
)
def test_a_start_that_fails_while_it_is_hung_up_reports_why(config, manager, text, reason):
    config.write_text(config.read_text() + text)
    with serving(config, manager) as process, hung_up_all_the_time(process):
        assert process.wait(20) == 2
    (line,) = (config.parent / "log").read_text().splitlines()
    assert reason in line


def test_a_reload_that_is_refused_ends_too_and_says_why(config, manager):
    good = config.read_text()
    with serving(config, manager) as process:
        assert manager.receive() == {"READY": "1"}
        for text, status in (
            (good + "[queue]\nworkers = 0\n", "Reload refused, the previous configuration remains in force: "),
            (good + BAD_RULE, f"Reload refused, the previous configuration remains in force: {config}:"),
            (good + "[queue]\nworkers = 7\n", "Configuration reloaded; a restart is needed for: queue.workers"),
        ):
            config.write_text(text)
            process.send_signal(signal.SIGHUP)
            start, end = manager.receive(), manager.receive()
            assert start["RELOADING"] == "1"
            assert 0 < int(start["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert end["READY"] == "1"
            assert end["STATUS"].startswith(status)
        config.unlink()
        process.send_signal(signal.SIGHUP)
        assert "cannot read the file" in manager.until("READY")[-1]["STATUS"]
        # A manager that reads no more does not stop the daemon.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"full", str(manager.path))
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert process.wait(20) == 0


def test_a_hangup_ends_other_commands(config):
    process = subprocess.Popen(
        [sys.executable, "-m", "flexportd", "--config", str(config), "webhook", "sign", "-"],
        stdin=subprocess.PIPE,
    )  # fmt: skip
    with process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == -signal.SIGHUP
