"""The event bus of commits: each writer publishes what it wrote to the database, and subscribers act on it."""

from collections.abc import Callable, Hashable

from flexportd.cache import Cache
from flexportd.core.events.applier import WriteSet
from flexportd.core.importer.batch_import import ImportResult
from flexportd.core.importer.importer import ImportObserver, WrittenKeys
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.schema_drift import FUTURE_TIMESTAMP, TIMESTAMP_WENT_BACK, SchemaDrift, top_level_fields
from flexportd.storage.transaction import Transaction

Subscriber = Callable[[WriteSet], None]


class CommitBus:
    """Calls its subscribers after each commit, on the event loop, in the order of subscription. None may block."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, *subscribers: Subscriber) -> None:
        """Register subscribers, at start."""
        self._subscribers += subscribers

    def after_commit(self, written: WriteSet) -> None:
        """Publish what a transaction wrote."""
        for subscriber in self._subscribers:
            subscriber(written)


def cache_invalidation(cache: Cache) -> Subscriber:
    """A subscriber that drops the cached responses that show what was written."""

    def invalidate(written: WriteSet) -> None:
        tags: set[Hashable] = {(name, key) for name, keys in written.objects.items() for key in keys}
        tags.update(("shipments", number) for number in written.shipments)
        cache.invalidate({*tags, *written.objects, "pages"})

    return invalidate


class ImportRecorder(ImportObserver):
    """Records schema drift with each import, and publishes what it wrote."""

    def __init__(self, bus: CommitBus) -> None:
        self._bus = bus
        self._schema_drift = SchemaDrift()

    def inspect(self, object_name: str, text: bytes) -> bool:
        """Compare an object with the published schema; whether it conforms."""
        return self._schema_drift.inspect(object_name, text)

    def report_anomaly(self, object_name: str, sentence: str) -> None:
        """Note an anomaly of a response; it is written with the next import."""
        self._schema_drift.report(object_name, sentence)

    def record_import(self, tx: Transaction, domain: ResourceType, result: ImportResult, at: str) -> None:
        """Write the schema drift in the transaction of the import that showed it."""
        for key in result.went_back:
            self._schema_drift.report(domain.object_name, TIMESTAMP_WENT_BACK, key)
        for name, sentence, example in result.anomalies:
            self._schema_drift.report(name, sentence, example)
        for candidate in result.comparison.candidates:
            if FUTURE_TIMESTAMP in candidate.notes:
                self._schema_drift.report(domain.object_name, FUTURE_TIMESTAMP, str(candidate.id))
            self._schema_drift.report_implausible(domain.object_name, domain.table, candidate.values)
            if candidate.faults:
                fields = top_level_fields(candidate.raw)
                self._schema_drift.report_faults(domain.object_name, candidate.faults, fields)
        self._schema_drift.write(tx, at)

    def after_commit(self, touched: WrittenKeys) -> None:
        """Publish the objects that an import wrote."""
        self._bus.after_commit(WriteSet(touched))
