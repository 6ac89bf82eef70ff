"""Processes that run flexportd without loading it each time: forks of a server that has imported it.

The interpreter takes a second of CPU to import the daemon, and a third of one for a command. A fork runs the same
`__main__` module with arguments, environment, folder and files of its own, and ends as any interpreter does. What
depends on how the interpreter itself starts, such as `PYTHON…` variables, needs a real start.

`python -m tests.fork_server FD` is the server; it ends when the other end of its socket is closed.
"""

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
_NUMBER = struct.Struct("!i")


# --- the tests' side ---


class _Server:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_"))}
            environ |= {"LANG": "C.UTF-8"} | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
                cwd=ROOT, env=environ, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self._socket, self._lock = ours, threading.Lock()
        atexit.register(self._close)

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, request: Mapping[str, Any], files: Sequence[int]) -> socket.socket:
        """The link to a new process: its id comes first, and its exit code once it has ended."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            body = json.dumps(request).encode()
            self._socket.sendall(_NUMBER.pack(len(body)))
            socket.send_fds(self._socket, [body[:1]], [theirs.fileno(), *files])
            self._socket.sendall(body[1:])
        return ours


@functools.cache
def _server() -> _Server:
    return _Server()


class ForkedProcess:
    """As `subprocess.Popen([sys.executable, "-m", *program], …)`, with bytes in its pipes."""

    def __init__(
        self,
        program: Sequence[object],
        *,
        cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        self.args = [str(part) for part in program]
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        request = {
            "program": self.args,
            "cwd": str(cwd),
            "env": dict(os.environ if env is None else env),
        }
        with contextlib.ExitStack() as theirs:
            files = []
            for number, (name, wanted) in enumerate((("stdin", stdin), ("stdout", stdout), ("stderr", stderr))):
                if wanted == subprocess.PIPE:
                    reading, writing = os.pipe()
                    mine, its = (writing, reading) if name == "stdin" else (reading, writing)
                    setattr(self, name, os.fdopen(mine, "wb" if name == "stdin" else "rb"))
                    theirs.callback(os.close, its)
                elif wanted == subprocess.DEVNULL:
                    its = os.open(os.devnull, os.O_RDWR)
                    theirs.callback(os.close, its)
                else:
                    its = number if wanted is None else wanted
                files.append(its)
            self._link = _server().fork(request, files)
        self.returncode: int | None = None
        self.pid = self._number()

    def _number(self) -> int:
        found = self._link.recv(_NUMBER.size)
        if len(found) != _NUMBER.size:
            raise RuntimeError("the fork server has ended")
        return int(_NUMBER.unpack(found)[0])

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None and self._has_ended(0):
            self._end()
        return self.returncode

    def _has_ended(self, timeout: float | None) -> bool:
        link = select.poll()
        link.register(self._link, select.POLLIN)
        return bool(link.poll(None if timeout is None else timeout * 1000))

    def _end(self) -> int:
        self.returncode = self._number()
        self._link.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not self._has_ended(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._end() if self.returncode is None else self.returncode

    async def wait_async(self) -> int:
        """The same, without blocking the event loop."""
        while self.poll() is None:
            ended, loop = asyncio.Event(), asyncio.get_running_loop()
            loop.add_reader(self._link, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(self._link)
        return self.wait()

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def run(
    program: Sequence[object],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    timeout: float = 20.0,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m PROGRAM` to its end, which comes within `timeout` seconds."""
    process = ForkedProcess(
        program, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    found: dict[str, bytes] = {}

    def read(name: str) -> None:
        with getattr(process, name) as stream:
            found[name] = stream.read()

    readers = [threading.Thread(target=read, args=(name,)) for name in ("stdout", "stderr")]
    for reader in readers:
        reader.start()
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as stream:
            stream.write(given)
        code = process.wait(timeout)
    finally:
        process.kill()
        for reader in readers:
            reader.join()
    return subprocess.CompletedProcess(process.args, code, found["stdout"].decode(), found["stderr"].decode())


# --- the server ---


def _preload() -> None:
    import flexportd

    for module in pkgutil.walk_packages(flexportd.__path__, "flexportd."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket) -> Mapping[str, Any] | None:
    """Fork on request until the tests end: None. In a fork, what it is to run."""
    children: dict[int, socket.socket] = {}
    woken, waking = socket.socketpair()
    waking.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for what they run
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([control, woken, *children.values()], [], [])
        if woken in ready:
            woken.recv(1 << 10)
            _reap(children)
        # Links are never written to: whoever waits for these processes is gone.
        _kill(pid for pid, link in children.items() if link in ready)
        if control not in ready:
            continue
        request, files = _receive(control)
        if request is None:
            _kill(children)
            return None
        link = socket.socket(fileno=files[0])
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for one in (control, woken, waking, link, *children.values()):
                one.detach()
            _take(files[1:])
            return request
        for file in files[1:]:
            os.close(file)
        link.sendall(_NUMBER.pack(pid))
        children[pid] = link


def _kill(children: Iterable[int]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _reap(children: dict[int, socket.socket]) -> None:
    """Report the exit codes of those that have ended."""
    for pid in [*children]:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with contextlib.suppress(OSError), children.pop(pid) as link:
                link.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _receive(control: socket.socket) -> tuple[Mapping[str, Any] | None, list[int]]:
    """The next request with its link and three files; None at the end."""
    size = control.recv(_NUMBER.size, socket.MSG_WAITALL)
    if not size:
        return None, []
    body, files, _, _ = socket.recv_fds(control, 1, 4)
    return json.loads(body + control.recv(_NUMBER.unpack(size)[0] - 1, socket.MSG_WAITALL)), files


def _take(files: Sequence[int]) -> None:
    """Make these the standard input, output and error, and close all others."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 1 << 16)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream: Any = open(  # noqa: SIM115 (until the process ends)
            number, "w" if number else "r", encoding="utf-8", closefd=False, buffering=1 if number == 2 else -1,
            errors="backslashreplace" if number == 2 else "surrogateescape",
        )  # fmt: skip
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    _preload()
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        os.chdir(request["cwd"])
        module, *sys.argv[1:] = request["program"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
