"""The event bus of commits, and the jobs of the composition root."""

import pytest

from flexportd.cache import Cache, DiskCache
from flexportd.clock import Clock
from flexportd.core.events.applier import WriteSet
from flexportd.daemon.after_commit import CommitBus, ImportRecorder, cache_invalidation
from flexportd.http.responses import PreparedResponse
from flexportd.jobs.definitions import define_jobs
from flexportd.settings import Settings


def test_every_subscriber_gets_what_was_written_in_the_order_of_subscription():
    bus, calls = CommitBus(), []
    bus.subscribe(lambda written: calls.append(("first", written)), lambda written: calls.append(("second", written)))
    written = WriteSet({"legs": {7}})
    bus.after_commit(written)
    assert calls == [("first", written), ("second", written)]


def test_an_import_publishes_the_objects_that_it_wrote():
    bus, calls = CommitBus(), []
    bus.subscribe(calls.append)
    ImportRecorder(bus).after_commit({"invoices": {"1"}})
    assert calls == [WriteSet({"invoices": {"1"}})]


@pytest.mark.parametrize(
    ("written", "dropped"),
    [
        (WriteSet({"legs": frozenset({7})}), {"leg", "legs", "page"}),
        (WriteSet({}, frozenset({1})), {"shipment", "page"}),
        (WriteSet({"exceptions": frozenset()}), {"exceptions", "page"}),
        (WriteSet(), {"page"}),
    ],
)
def test_cached_responses_that_show_what_was_written_are_dropped(tmp_path, written, dropped):
    cache = Cache(DiskCache(tmp_path, 0, Clock()))
    tags = {"leg": ("legs", 7), "legs": "legs", "shipment": ("shipments", 1), "shipments": "shipments"}
    tags |= {"other": ("legs", 8), "exceptions": "exceptions", "page": "pages"}
    for key, tag in tags.items():
        cache.put(key, PreparedResponse(200, b"{}"), (tag,), cache.epoch)
    bus = CommitBus()
    bus.subscribe(cache_invalidation(cache))
    bus.after_commit(written)
    assert {key for key in tags if cache.get(key) is None} == dropped


async def _nothing(_run):
    return None


def test_only_jobs_with_a_function_are_defined_and_no_function_is_left_out(tmp_path):
    settings = Settings.for_tests(tmp_path)
    assert [job.name for job in define_jobs(settings, {"retention": _nothing})] == ["retention"]
    with pytest.raises(ValueError, match="no definition of the jobs backup"):
        define_jobs(settings, {"retention": _nothing, "backup": _nothing})
