"""The C library's allocator: one arena, memory given back; where there are no such orders, nothing happens."""

import asyncio
import ctypes
import platform
import subprocess
import sys

import pytest

from flexportd.clock import Clock
from flexportd.daemon import app, malloc
from flexportd.queue.queue import Queue
from flexportd.queue.retry_policy import Policy
from flexportd.storage.database import Database

of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes these orders")

# Every other block is freed, so that nothing of it lies at the end, from where it would go back by itself.
HALF_FREED = """
import gc
from flexportd.daemon import malloc as allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytes(16000) for _ in range(4000)]
del blocks[::2]
before = resident()
allocator.trim()
print(before - resident())
"""
# Large blocks with a small one behind each, which would keep their place in the heap.
LARGE_FREED = """
import sys
from flexportd.daemon import malloc as allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "told":
    allocator.use_single_arena()
freed = bytes(20_000_000)
del freed  # by itself glibc takes blocks of such a size from the heap from now on
large, small = [], []
for _ in range(400):
    large.append(bytes(range(256)) * 400)
    small.append(bytes(3000))
before = resident()
large.clear()
print(before - resident())
"""
IN_THREADS = """
import ctypes, sys, threading
from flexportd.daemon import malloc as allocator

if sys.argv[1] == "shared":
    allocator.use_single_arena()
met = threading.Barrier(4)

def allocate():
    kept = [bytes(5000) for _ in range(100)]
    met.wait(10)

threads = [threading.Thread(target=allocate) for _ in range(3)]
for thread in threads:
    thread.start()
met.wait(10)
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""


def _run(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@of_glibc
def test_what_is_free_goes_back_to_the_system():
    assert int(_run(HALF_FREED)) > 10 << 20


@of_glibc
def test_large_blocks_go_back_when_they_are_freed_whatever_lies_between_them():
    assert int(_run(LARGE_FREED, "told")) > 30 << 20 > int(_run(LARGE_FREED, "left"))


@of_glibc
@pytest.mark.parametrize(("how", "several"), [("shared", False), ("apart", True)])
def test_threads_share_one_arena(how, several):
    assert ("Arena 1:" in _run(IN_THREADS, how)) is several


class OtherLibrary:
    """One without these functions, as musl's and macOS'."""

    def __getattr__(self, name):
        raise AttributeError(name)


def _cannot_be_opened(_name):
    raise OSError("no dynamic linking")


@pytest.mark.parametrize("library", [lambda _name: OtherLibrary(), _cannot_be_opened])
def test_another_library_is_left_alone(monkeypatch, library):
    monkeypatch.setattr(ctypes, "CDLL", library)
    malloc.use_single_arena()
    malloc.trim()


class Hurried(Clock):
    """Notes each wait, and lets it be over at once."""

    def __init__(self):
        self.waits = asyncio.Queue()

    async def sleep(self, seconds):
        self.waits.put_nowait(seconds)
        await asyncio.sleep(0)


async def test_memory_goes_back_once_the_writer_is_quiet_and_not_before(monkeypatch, tmp_path):
    called = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Library:
        def malloc_trim(self, _left):
            loop.call_soon_threadsafe(called.set)

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    monkeypatch.setattr(app, "_IDLE_SECONDS", 3600.0)
    clock = Hurried()
    async with Database.open(tmp_path) as db:
        giving = asyncio.ensure_future(app._memory_maintenance(Queue(db, clock, Policy(1, 1.0, 1.0))))
        try:
            async with asyncio.timeout(10):
                await db.write(lambda tx: None)
                for _ in range(50):
                    await clock.waits.get()
                assert not called.is_set()
                monkeypatch.setattr(app, "_IDLE_SECONDS", 0.0)
                await called.wait()
        finally:
            giving.cancel()
            await asyncio.wait([giving])
