"""Memory in front, disk behind: the same bytes, dropped together."""

import pytest

from flexportd.cache import Cache, DiskCache
from flexportd.clock import Clock
from flexportd.http.responses import PreparedResponse

TTLS = {"shipment": 300.0, "port": 86_400.0, "page": 60.0, "file": 604_800.0}
TAGS = ("shipments", ("shipments", 7))


class Hands:
    """A clock that stands still until it is turned."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


def answer(body=b"x" * 100):
    return PreparedResponse(200, body, etag='"abc-gz"', content_encoding="gzip", link='</a>; rel="next"')


async def opened(folder, **rules):
    cache = Cache(DiskCache(folder / "answers", 64 << 20, Clock()), ttls=TTLS, **rules)
    await cache.disk.open()
    return cache


async def emptied(cache):
    """The same cache with an empty memory, once the disk has what was stored."""
    while cache.disk._worker._writes:
        await cache.disk._worker.call(lambda: None)
    for key in list(cache._entries):
        cache._remove(key)


async def fetch(cache, key, kind):
    return cache.get(key) or await cache.fetch_behind(key, kind)


async def test_an_answer_comes_back_from_disk_byte_by_byte(tmp_path):
    cache = await opened(tmp_path)
    cache.put(("/x", True), answer(), TAGS, cache.epoch, "shipment")
    await emptied(cache)
    assert cache.get(("/x", True)) is None
    assert cache.get("/x") is None
    assert await cache.fetch_behind("/x", "shipment") is None
    found, made = await fetch(cache, ("/x", True), "shipment"), answer()
    assert (found.status, found.etag, found.head, found.body) == (made.status, made.etag, made.head, made.body)
    assert cache.get(("/x", True)) is found
    assert cache.disk.stats().hits == 1
    await cache.disk.close()


async def test_a_drop_reaches_both_layers_and_what_came_from_disk(tmp_path):
    cache = await opened(tmp_path)
    for key in ("/a", "/b"):
        cache.put(key, answer(), TAGS, cache.epoch, "shipment")
    await emptied(cache)
    assert await fetch(cache, "/a", "shipment") is not None
    cache.invalidate([("shipments", 8), "legs"])
    assert cache.get("/a") is not None
    cache.invalidate([("shipments", 7)])
    assert cache.get("/a") is None
    assert await fetch(cache, "/a", "shipment") is None
    assert await fetch(cache, "/b", "shipment") is None
    await emptied(cache)
    assert await fetch(cache, "/b", "shipment") is None
    cache.put("/b", answer(), TAGS, cache.epoch, "shipment")
    await emptied(cache)
    assert await fetch(cache, "/b", "shipment") is not None
    await cache.disk.close()


async def test_an_answer_read_before_a_change_is_kept_nowhere_after_it(tmp_path):
    cache = await opened(tmp_path)
    for _ in range(3):  # the epochs of both layers differ from here on
        cache.invalidate(["other"])
    await emptied(cache)
    epoch = cache.epoch
    cache.invalidate(TAGS)
    cache.put("/a", answer(), TAGS, epoch, "shipment")
    cache.put("/b", answer(), ("ports",), epoch, "port")
    cache.put_file("7", b"bytes", TAGS, epoch)
    assert cache.get("/a") is None
    await emptied(cache)
    assert await fetch(cache, "/a", "shipment") is None
    assert await cache.file("7") is None
    assert await fetch(cache, "/b", "port") is not None
    await cache.disk.close()


async def test_what_has_no_type_stays_in_memory(tmp_path):
    cache = await opened(tmp_path)
    cache.put("/a", answer(), TAGS, cache.epoch)
    assert cache.get("/a") is not None
    await emptied(cache)
    assert await fetch(cache, "/a", "page") is None
    await cache.disk.close()


async def test_what_is_too_large_for_memory_is_not_stored_either(tmp_path):
    cache = await opened(tmp_path, limit=80_000)
    cache.put("/a", answer(bytes(20_000)), TAGS, cache.epoch, "shipment")
    assert cache.get("/a") is None
    await emptied(cache)
    assert await fetch(cache, "/a", "shipment") is None
    await cache.disk.close()


async def test_from_disk_an_answer_lives_only_for_what_is_left_and_allowed(tmp_path):
    hands = Hands()
    cache = await opened(tmp_path, now=hands)
    cache.put("/a", answer(), TAGS, cache.epoch, "shipment")
    cache.put("/b", answer(), TAGS, cache.epoch, "port")
    await emptied(cache)
    cache.ttls = TTLS | {"shipment": 10.0, "port": 0.0}
    assert await fetch(cache, "/a", "shipment") is not None
    assert await fetch(cache, "/b", "port") is None
    hands.time += 9.9
    assert cache.get("/a") is not None
    hands.time += 0.2
    assert cache.get("/a") is None
    await cache.disk.close()


async def test_files_are_kept_on_disk_alone(tmp_path):
    cache = await opened(tmp_path)
    content = bytes(range(256)) * 2000
    cache.put_file("7", content, (("documents", 7),), cache.epoch)
    assert cache.size == 0
    await emptied(cache)
    assert await cache.file("7") == content
    assert await cache.file("8") is None
    cache.invalidate([("documents", 7)])
    assert await cache.file("7") is None
    await cache.disk.close()


async def test_dropping_all_leaves_nothing_of_before(tmp_path):
    cache = await opened(tmp_path)
    epoch = cache.epoch
    cache.put("/a", answer(), TAGS, epoch, "shipment")
    cache.invalidate_all()
    cache.put("/b", answer(), TAGS, epoch, "shipment")
    cache.put("/c", answer(), TAGS, cache.epoch, "shipment")
    assert [cache.get(key) is not None for key in ("/a", "/b", "/c")] == [False, False, True]
    await emptied(cache)
    found = [await fetch(cache, key, "shipment") is not None for key in ("/a", "/b", "/c")]
    assert found == [False, False, True]
    await cache.disk.close()


@pytest.mark.parametrize("path", ["/x\udcff", "/" + "y" * 20_000, "/\x00", "/ü"])
async def test_any_path_may_be_a_key(tmp_path, path):
    cache = await opened(tmp_path)
    cache.put(path, answer(), TAGS, cache.epoch, "shipment")
    await emptied(cache)
    assert await fetch(cache, path, "shipment") is not None
    assert cache.disk.stats().errors == 0
    await cache.disk.close()


async def test_what_is_no_answer_is_not_taken_for_one(tmp_path):
    cache = await opened(tmp_path)
    cache.put_file("7", b"no answer", (), cache.epoch)
    await emptied(cache)
    assert await fetch(cache, ("file", "7"), "file") is None
    await cache.disk.close()


async def test_without_a_disk_that_works_it_is_memory_alone(tmp_path):
    (tmp_path / "answers").write_text("a file")
    cache = await opened(tmp_path)
    cache.put("/a", answer(), TAGS, cache.epoch, "shipment")
    assert cache.get("/a") is not None
    assert await fetch(cache, "/b", "shipment") is None
    await cache.disk.close()
