"""The disk layer: never stale, never in the way, never more than a miss, whatever happens to its folder."""

import asyncio
import contextlib
import gc
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import diskcache
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.cache import DiskCache
from flexportd.cache.disk_cache import TagVersions
from flexportd.cache.disk_store import BytesDisk
from flexportd.clock import Clock

LIMIT = 64 << 20
ROOT = Path(__file__).parents[2]


class Hands:
    """A clock that stands still until it is turned."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "answers"


async def opened(folder, limit=LIMIT, clock=None, **rules):
    disk = DiskCache(folder, limit, clock or Clock(), **rules)
    await disk.open()
    return disk


async def settled(disk):
    """Everything that was put has been tried."""
    while disk._worker._writes:
        await disk._worker.call(lambda: None)
    await disk._worker.call(lambda: None)


async def put(disk, key="a", value=b"value", tags=("t",), ttl=60):
    disk.put(key, value, ttl, tags, disk.epoch)
    await settled(disk)


@contextlib.asynccontextmanager
async def halted(disk):
    """The thread stands still meanwhile."""
    stopped, go = threading.Event(), threading.Event()
    busy = asyncio.ensure_future(disk._worker.call(lambda: (stopped.set(), go.wait())))
    while not stopped.is_set():
        await asyncio.sleep(0)
    try:
        yield
    finally:
        go.set()
        await busy


async def held(folder):
    """A folder with one entry, closed."""
    disk = await opened(folder)
    await put(disk)
    await disk.close()


# Keeping and finding


@pytest.mark.parametrize("size", [0, 1, 3000, 200_000])
async def test_what_was_put_is_found(folder, size):
    disk = await opened(folder)
    value = os.urandom(size)
    await put(disk, "a", value)
    assert await disk.get("a") == value
    assert await disk.get("b") is None
    stats = disk.stats()
    assert (stats.entries, stats.hits, stats.misses, stats.errors) == (1, 1, 1, 0)
    assert stats.bytes > size
    await disk.close()


async def test_nothing_is_kept_or_found_before_opening_and_after_closing(folder):
    disk = DiskCache(folder, LIMIT, Clock())
    disk.put("a", b"x", 60, (), disk.epoch)
    disk.invalidate(["t"])
    assert await disk.get("a") is None
    await disk.close()
    assert not folder.exists()
    await disk.open()
    await disk.open()
    await disk.close()
    disk.put("a", b"x", 60, (), disk.epoch)
    assert await disk.get("a") is None
    await disk.close()


async def test_its_thread_and_files_are_gone_after_closing(folder):
    gc.collect()  # what other tests have left
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await held(folder)
    assert not [thread for thread in threading.enumerate() if thread.name == "disk-cache"]
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_only_its_user_may_look_into_the_folder(folder):
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    await held(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_an_entry_lives_as_long_as_it_was_given(folder):
    class Later(Clock):
        ahead = timedelta(0)

        def now(self):
            return datetime.now(UTC) + self.ahead

    clock = Later()
    disk = await opened(folder, clock=clock)
    await put(disk, "a", ttl=60)
    await put(disk, "none", ttl=0)
    assert disk.stats().entries == 1
    entry, left = await disk.find("a")
    assert entry.value == b"value"
    assert 0 < left <= 60
    clock.ahead = timedelta(seconds=61)
    assert await disk.get("a") is None
    assert await disk.get("none") is None
    await disk.close()


async def test_what_is_stored_first_goes_first_and_the_size_is_held(folder):
    limit = 1 << 20
    disk = await opened(folder, limit=limit)
    for number in range(1000):
        disk.put(f"k{number}", os.urandom(3000), 60, (), disk.epoch)
        if number % 100 == 0:
            await settled(disk)
    await settled(disk)
    assert await disk.get("k0") is None
    assert await disk.get("k999") is not None
    assert disk.stats().bytes < limit * 1.1
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert used < limit * 1.2
    await disk.close()


async def test_what_does_not_fit_the_queue_is_counted_and_not_kept(folder):
    disk = await opened(folder)
    async with halted(disk):
        for number in range(600):
            disk.put(f"k{number}", b"x", 60, (), disk.epoch)
        assert disk.stats().dropped == 600 - 512
    await settled(disk)
    assert disk.stats().entries == 512
    assert await disk.get("k511") == b"x"
    assert await disk.get("k512") is None
    await disk.close()


async def test_what_waits_is_bounded_in_bytes_too(folder):
    disk = await opened(folder, limit=1 << 30)
    content = bytes(40 << 20)
    async with halted(disk):
        disk.put("a", content, 60, (), disk.epoch)
        disk.put("b", content, 60, (), disk.epoch)
        assert disk.stats().dropped == 1
    await disk.close()


async def test_what_is_too_large_is_not_kept(folder):
    disk = await opened(folder, limit=1 << 20)
    await put(disk, "a", bytes((1 << 18) + 1))
    assert await disk.get("a") is None
    assert disk.stats().dropped == 1
    await disk.close()


async def test_a_look_up_that_takes_too_long_is_a_miss(folder, monkeypatch):
    monkeypatch.setattr("flexportd.cache.disk_cache._LOOKUP_TIMEOUT", 0.01)
    disk = await opened(folder)
    await put(disk)
    async with halted(disk):
        assert await disk.get("a") is None
    monkeypatch.undo()
    assert await disk.get("a") == b"value"
    await disk.close()


# Never stale


async def test_a_drop_takes_effect_at_once_and_for_its_tag_only(folder):
    disk = await opened(folder)
    await put(disk, "a", tags=("t", "u"))
    await put(disk, "b", tags=("v",))
    disk.invalidate(["u"])
    assert await disk.get("a") is None
    assert await disk.get("b") == b"value"
    await put(disk, "a", b"new", tags=("t", "u"))
    assert await disk.get("a") == b"new"
    await disk.close()


async def test_what_was_built_before_a_drop_never_gets_in_after_it(folder):
    disk = await opened(folder)
    epoch = disk.epoch
    disk.invalidate(["t"])
    disk.put("a", b"old", 60, ("t",), epoch)
    disk.put("b", b"old", 60, ("u",), epoch)
    await settled(disk)
    assert await disk.get("a") is None
    assert await disk.get("b") == b"old"
    await disk.close()


async def test_what_an_earlier_process_left_is_dropped(folder):
    await held(folder)
    disk = await opened(folder)
    assert await disk.get("a") is None
    assert disk.stats().entries == 0
    await disk.close()


def test_many_drops_take_no_more_room_than_a_few_and_forget_none():
    drops = TagVersions()
    for number in range(50_000):
        drops.invalidate([str(number)])
    assert len(drops._at) <= 20_001
    for number in range(0, 50_000, 997):
        assert drops.is_stale([str(number)], number)
    assert not drops.is_stale(["49999"], drops.epoch)
    assert not drops.is_stale(["x"], drops.epoch - 5000)


STEPS = st.lists(
    st.tuples(st.sampled_from(["build", "put", "change", "get", "restart", "delete", "empty"]), st.integers(0, 2)),
    max_size=25,
)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_happens_only_the_present_is_shown(steps):
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(_only_the_present(Path(place) / "answers", steps))


async def _only_the_present(folder, steps):
    versions, built = [0, 0, 0], [None, None, None]
    disk = await opened(folder)
    for what, number in steps:
        tag = str(number)
        if what == "build":
            built[number] = (disk.epoch, f"{number} {versions[number]}".encode())
        elif what == "put" and built[number]:
            epoch, value = built[number]
            disk.put(tag, value, 60, (tag,), epoch)
        elif what == "change":
            versions[number] += 1
            disk.invalidate([tag])
        elif what == "get":
            await settled(disk)
            assert await disk.get(tag) in {None, f"{number} {versions[number]}".encode()}
        elif what == "restart":
            await disk.close()
            built = [None, None, None]
            versions = [version + 1 for version in versions]  # nobody is told what changes now
            disk = await opened(folder)
        elif what == "delete":
            shutil.rmtree(folder, ignore_errors=True)
        else:
            for path in list(folder.glob("*.db*")):
                path.unlink()
    await disk.close()


# A folder that is deleted, damaged or no folder


async def test_a_deleted_folder_is_made_anew(folder):
    disk = await opened(folder)
    await put(disk)
    shutil.rmtree(folder.parent)
    assert await disk.get("a") is None
    await put(disk, "b", bytes(100_000))
    assert await disk.get("b") == bytes(100_000)
    assert folder.stat().st_mode & 0o777 == 0o700
    stats = disk.stats()
    assert (stats.entries, stats.reopened, stats.errors) == (1, 1, 0)
    await disk.close()


async def test_a_database_deleted_alone_leaves_no_files_behind(folder):
    disk = await opened(folder)
    await put(disk, "a", bytes(100_000))
    (folder / "cache.db").unlink()
    await put(disk, "b", b"small")
    assert not list(folder.rglob("*.val"))
    assert await disk.get("b") == b"small"
    await disk.close()


async def test_the_file_of_a_value_may_be_gone(folder):
    disk = await opened(folder)
    await put(disk, "a", bytes(100_000))
    (file,) = folder.rglob("*.val")
    file.unlink()
    assert await disk.get("a") is None
    assert disk.stats().errors == 0
    await disk.close()


async def test_a_folder_deleted_between_two_runs_is_empty(folder):
    await held(folder)
    shutil.rmtree(folder.parent)
    disk = await opened(folder)
    assert await disk.get("a") is None
    await put(disk)
    assert await disk.get("a") == b"value"
    assert disk.stats().errors == 0
    await disk.close()


async def test_a_folder_deleted_again_and_again_during_work_does_no_harm(folder):
    disk = await opened(folder, now=Hands())
    stop = threading.Event()

    def delete():
        while not stop.is_set():
            shutil.rmtree(folder, ignore_errors=True)

    thread = threading.Thread(target=delete)
    thread.start()
    for number in range(300):
        disk.put(str(number), bytes(number * 300), 60, (), disk.epoch)
        assert await disk.get(str(number)) in {None, bytes(number * 300)}
    stop.set()
    thread.join()
    disk._store._retry_at = 0.0
    shutil.rmtree(folder, ignore_errors=True)
    await put(disk)
    assert await disk.get("a") == b"value"
    await disk.close()


@pytest.mark.parametrize("damage", [b"", b"not a database" * 1000, "cut", "zeros", "text in the middle"])
async def test_a_damaged_database_is_made_anew(folder, damage):
    disk = await opened(folder)
    for number in range(50):
        await put(disk, f"k{number}", os.urandom(2000))
    await disk.close()
    file = folder / "cache.db"
    content = file.read_bytes()
    half = len(content) // 2
    file.write_bytes(
        {"cut": content[:half], "zeros": bytes(len(content)), "text in the middle": content[:4096] + b"x" * half}.get(
            damage, damage
        )
    )
    again = await opened(folder)
    for number in range(50):
        await again.get(f"k{number}")
    again._store._retry_at = 0.0
    await put(again, "new")
    assert await again.get("new") == b"value"
    assert await again.get("k49") is None
    await again.close()


async def test_a_database_damaged_during_work_is_made_anew(folder):
    disk = await opened(folder)
    for number in range(50):
        await put(disk, f"k{number}", os.urandom(2000))
    with (folder / "cache.db").open("r+b") as file:
        file.truncate(4096)
    for number in range(50):
        await disk.get(f"k{number}")
    await put(disk, "new")
    await put(disk, "new")
    assert await disk.get("new") == b"value"
    assert disk.stats().errors >= 1
    await disk.close()


async def test_a_value_that_the_disk_has_mangled_is_not_shown(folder):
    disk = await opened(folder)
    await put(disk, "a", bytes(100_000))
    (file,) = folder.rglob("*.val")
    content = bytearray(file.read_bytes())
    content[50_000] ^= 1
    file.write_bytes(content)
    assert await disk.get("a") is None
    assert disk.stats().errors == 1
    await disk.close()


async def test_a_place_that_cannot_be_used_is_tried_again_later(folder):
    folder.parent.mkdir()
    folder.write_text("a file")
    hands = Hands()
    disk = await opened(folder, now=hands)
    await put(disk)
    assert await disk.get("a") is None
    assert folder.read_text() == "a file"
    assert disk.stats().errors == 1
    folder.unlink()
    await put(disk)
    assert await disk.get("a") is None
    hands.time += 31
    await put(disk)
    assert await disk.get("a") == b"value"
    await disk.close()


@pytest.mark.parametrize("place", ["/proc/nowhere/answers", "/dev/null/answers"])
async def test_a_place_that_cannot_be_made_is_no_more_than_a_miss(place):
    disk = await opened(Path(place))
    await put(disk)
    assert await disk.get("a") is None
    assert disk.stats().errors >= 1
    await disk.close()


READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from flexportd.cache import DiskCache
from flexportd.clock import Clock

async def main():
    folder = Path(sys.argv[1])
    disk = DiskCache(folder, 64 << 20, Clock())
    if os.geteuid() == 0:  # root may write everywhere
        for path in (folder, *folder.iterdir()):
            os.chown(path, 54321, 54321)
        os.setuid(54321)
    await disk.open()
    disk.put("b", b"x", 60, (), disk.epoch)
    print(await disk.get("a"), disk.stats().errors > 0)
    await disk.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("modes", [(0o500, 0o600), (0o700, 0o400), (0o500, 0o400), (0, 0)])
async def test_a_read_only_folder_is_no_more_than_a_miss(folder, modes):
    await held(folder)
    folder.parent.parent.chmod(0o755)
    (folder / "cache.db").chmod(modes[1])
    folder.chmod(modes[0])
    script = [sys.executable, "-c", READ_ONLY, str(folder)]
    done = await asyncio.to_thread(subprocess.run, script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["None", str(modes[0] != 0o700)]
    folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
async def test_the_folder_of_another_user_is_left_alone(folder):
    folder.mkdir(parents=True)
    os.chown(folder, 54321, 54321)
    disk = await opened(folder)
    await put(disk)
    assert await disk.get("a") is None
    assert list(folder.iterdir()) == []
    await disk.close()


async def test_a_link_is_no_folder(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    disk = await opened(folder)
    await put(disk)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    await disk.close()


async def test_a_name_that_the_library_would_expand_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "elsewhere"))
    disk = await opened(tmp_path / "$ELSEWHERE")
    await put(disk)
    assert await disk.get("a") is None
    assert list(tmp_path.iterdir()) == []
    await disk.close()


async def test_two_daemons_do_not_share_a_folder(folder):
    first, second = await opened(folder), await opened(folder)
    await put(first, "a", b"first")
    await put(second, "a", b"second")
    assert await first.get("a") == b"first"
    assert await second.get("a") is None
    await second.close()
    assert await first.get("a") == b"first"
    await first.close()


async def test_what_others_keep_in_the_folder_stays(folder):
    folder.mkdir(parents=True)
    (folder / "README").write_text("mine")
    (folder / "photos").mkdir()
    await held(folder)
    await (await opened(folder)).close()
    assert (folder / "README").read_text() == "mine"
    assert (folder / "photos").is_dir()


# No pickle


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("in_a_file", [False, True])
async def test_a_planted_pickle_is_never_read_as_a_value(folder, tmp_path, in_a_file):
    disk = await opened(folder)
    await put(disk)
    content = pickle.dumps(Planted(tmp_path / "ran"))
    with sqlite3.connect(folder / "cache.db") as raw:
        if in_a_file:
            name = "ab/cd/" + "0" * 28 + ".val"
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(content)
            raw.execute("UPDATE Cache SET mode = 4, value = NULL, filename = ?", (name,))
        else:
            raw.execute("UPDATE Cache SET mode = 4, value = ?", (content,))
    raw.close()
    assert await disk.get("a") is None
    assert not (tmp_path / "ran").exists()
    assert disk.stats().errors == 1
    await put(disk)
    assert await disk.get("a") == b"value"
    await disk.close()


@pytest.mark.parametrize(("mode", "value"), [(1, "text"), (1, 7), (3, b"x"), (2, b"x"), (0, b"x"), (9, b"x")])
async def test_a_planted_row_of_another_shape_is_refused(folder, mode, value):
    disk = await opened(folder)
    await put(disk)
    with sqlite3.connect(folder / "cache.db") as raw:
        raw.execute("UPDATE Cache SET mode = ?, value = ?", (mode, value))
    raw.close()
    assert await disk.get("a") is None
    assert disk.stats().errors == 1
    await disk.close()


@pytest.mark.parametrize("looks", [False, True])
async def test_a_planted_name_leads_to_no_other_file(folder, tmp_path, looks):
    disk = await opened(folder)
    await put(disk, "a", bytes(100_000))
    (file,) = folder.rglob("*.val")
    secret = tmp_path / "secret"
    file.rename(secret)
    with sqlite3.connect(folder / "cache.db") as raw:
        raw.execute("UPDATE Cache SET filename = ?", (str(secret),))
    raw.close()
    if looks:
        assert await disk.get("a") is None
    await put(disk, "a", b"new")
    assert secret.exists()
    assert disk.stats().errors == 1
    await disk.close()


def test_a_planted_pickle_is_never_read_as_a_key(tmp_path):
    cache = diskcache.Cache(str(tmp_path / "x"), disk=BytesDisk)
    content = pickle.dumps(Planted(tmp_path / "ran"))
    cache._sql("INSERT INTO Cache (key, raw, mode, value) VALUES (?, 0, 1, x'00')", (content,))
    with pytest.raises(ValueError, match="not text"):
        list(cache)
    with pytest.raises(ValueError, match="not text"):
        cache.peekitem()
    cache.close()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", [7, b"x", ("x",), None, 1.5])
def test_only_text_is_a_key(tmp_path, key):
    cache = diskcache.Cache(str(tmp_path / "x"), disk=BytesDisk)
    for use in (cache.get, cache.delete, lambda key: cache.set(key, b"x")):
        with pytest.raises(ValueError, match="a key is text"):
            use(key)
    cache.close()


@pytest.mark.parametrize("value", [7, "x", ("x",), None, bytearray(b"x"), memoryview(b"x")])
def test_only_bytes_are_a_value(tmp_path, value):
    cache = diskcache.Cache(str(tmp_path / "x"), disk=BytesDisk)
    with pytest.raises(ValueError, match="a value is bytes"):
        cache.set("x", value)
    cache.close()
