"""What follows from what comes by: finished answers that show it are dropped, and what nobody published is noted."""

from collections.abc import Callable, Hashable, Iterable

from flexportd.cache import ResponseCache
from flexportd.core.importer.batch_import import ImportResult
from flexportd.core.importer.importer import ImportObserver, WrittenKeys
from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.schema_drift import FUTURE_TIMESTAMP, TIMESTAMP_WENT_BACK, SchemaDrift, top_level_fields
from flexportd.storage.queries.table import Key
from flexportd.storage.transaction import Transaction


class CommitHooks(ImportObserver):
    """Told of every answer of Flexport's and of every commit, whatever brought it."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self.on_documents: Callable[[Iterable[Key]], None] = lambda _: None  # told of documents that were written
        self.on_commit: list[Callable[[], None]] = []  # called after each commit, on the event loop: must not wait
        self._schema_drift = SchemaDrift()

    def inspect(self, object_name: str, text: bytes) -> bool:
        """Compare an object with what is published; whether it is as that."""
        return self._schema_drift.inspect(object_name, text)

    def report_anomaly(self, object_name: str, sentence: str) -> None:
        """Something about an answer is not as it should be."""
        self._schema_drift.report(object_name, sentence)

    def record_import(self, tx: Transaction, domain: ResourceType, result: ImportResult, at: str) -> None:
        """Write the drift down with the answer that showed it."""
        for key in result.went_back:
            self._schema_drift.report(domain.object_name, TIMESTAMP_WENT_BACK, key)
        for name, sentence, example in result.anomalies:
            self._schema_drift.report(name, sentence, example)
        for one in result.comparison.candidates:
            if FUTURE_TIMESTAMP in one.notes:
                self._schema_drift.report(domain.object_name, FUTURE_TIMESTAMP, str(one.id))
            self._schema_drift.report_implausible(domain.object_name, domain.table, one.values)
            if one.faults:
                self._schema_drift.report_faults(domain.object_name, one.faults, top_level_fields(one.raw))
        self._schema_drift.write(tx, at)

    def after_commit(self, touched: WrittenKeys, shipments: Iterable[int] = ()) -> None:
        """These objects were written; `shipments` are those whose events ended."""
        tags: set[Hashable] = {(name, key) for name, keys in touched.items() for key in keys}
        tags.update(("shipments", number) for number in shipments)
        self._cache.invalidate({*tags, *touched, "pages"})
        if touched.get("documents"):
            self.on_documents(touched["documents"])
        for call in self.on_commit:
            call()

    def on_exceptions(self) -> None:
        """Exceptions opened, moved or closed."""
        self._cache.invalidate({"exceptions", "pages"})
        for call in self.on_commit:
            call()
