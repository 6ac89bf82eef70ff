"""What tests share: a running daemon in one argument, a clock the test turns, and guard rails."""

import contextlib
import gc
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import hypothesis
import pytest

from flexportd import logs
from flexportd.clock import Clock
from flexportd.core.exceptions.worker import ExceptionWorker
from flexportd.core.search.indexer import Indexer
from flexportd.jobs import scheduler
from flexportd.settings import Settings
from flexportd.storage import database, migrate, substring_index
from tests.free_port import free_port
from tests.under_test import UnderTest, start

for name in [name for name in os.environ if name.startswith("FLEXPORTD_") or name.upper().endswith("_PROXY")]:
    del os.environ[name]

# What a test starts is to die of SIGINT even where the tests run behind a shell that ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "60")),
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("untimed")

logs.configure("warning", "json")

# In this time more commits may come. No test counts on it, and hundreds would wait for it.
ExceptionWorker.debounce = Indexer.debounce = 0.01


_migrate = migrate.migrate
_steps = (migrate.initial_schema, migrate.migrations)
_version = len(migrate.migrations())
_empty: list[bytes] = []  # what is before and behind the id


def _copy_empty(path: Path) -> int:
    """Copy an empty database, with an id of its own: thousands of tests need one, and this takes a tenth of the time.

    What a test does with other migrations, another SQLite, or a file that is there, is done by `migrate` itself.
    """
    is_new = not (path.exists() and path.stat().st_size)
    is_usual = _steps == (migrate.initial_schema, migrate.migrations) and substring_index.is_supported()
    if not (is_new and is_usual):
        return _migrate(path)
    if not _empty:
        _migrate(path)
        with contextlib.closing(sqlite3.connect(path)) as raw:
            (store_id,) = raw.execute("SELECT value FROM meta WHERE name = 'store_id'").fetchone()
        _empty.extend(path.read_bytes().split(store_id.encode()))
    path.write_bytes(secrets.token_hex(6).encode().join(_empty))
    return _version


migrate.migrate = database.migrate = _copy_empty


class LatestMoment:
    """In place of `random`, for the jobs that begin by themselves some seconds after the start of a daemon.

    At a moment of chance, a job would begin before what a test looks at in some runs, and after it in others.
    """

    @staticmethod
    def uniform(_earliest: float, latest: float) -> float:
        return latest


scheduler.random = LatestMoment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Short files last: with a long one at the end, one worker would go on alone.
    items.sort(key=lambda item: item.path.parent.name == "unit")


def pytest_collection_finish() -> None:
    # The tests of all modules stay: the collector need not look through them again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)  # else a tenth of the suite's time


class TurnedClock(Clock):
    """Real time plus what the test has turned it by."""

    def __init__(self) -> None:
        self.turned = timedelta()

    def now(self):
        return super().now() + self.turned

    def turn(self, **by: float) -> None:
        self.turned += timedelta(**by)


# Waiting for disks to confirm commits would be half of the suite's time.
IN_MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > 4 << 30:
    os.environ["TMPDIR"] = str(IN_MEMORY)


@pytest.fixture
def unused_tcp_port() -> int:
    """In place of pytest-asyncio's, whose ports another process may take before the test does."""
    return free_port()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short name, whatever the test's: a Unix socket's path has at most 107 bytes.

    In memory where there is room, unless TMPDIR names another place.
    """
    with tempfile.TemporaryDirectory(prefix="fxd-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """No test reaches the network."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.for_tests(tmp_path)


@pytest.fixture
async def daemon(settings, clock) -> AsyncIterator[UnderTest]:
    async with start(settings, clock) as under_test:
        yield under_test
