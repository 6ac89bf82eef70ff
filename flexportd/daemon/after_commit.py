"""What follows from what comes by: finished answers that show it are dropped, and what nobody published is noted."""

from collections.abc import Callable, Hashable, Iterable

from flexportd.cache import AnswerCache
from flexportd.core.importer.importer import Taken, Touched, Watcher
from flexportd.core.resources.resource_type import Domain
from flexportd.core.schema_drift import AHEAD, BACKWARDS, Drift, fields_of
from flexportd.storage.repositories.resources import Key
from flexportd.storage.transaction import Session


class Watching(Watcher):
    """Told of every answer of Flexport's and of every commit, whatever brought it."""

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache
        self.documents: Callable[[Iterable[Key]], None] = lambda _: None  # told of documents that were written
        self.on_commit: list[Callable[[], None]] = []  # called after each commit, on the event loop: must not wait
        self._drift = Drift()

    def look(self, object_name: str, text: bytes) -> bool:
        """Compare an object with what is published; whether it is as that."""
        return self._drift.look(object_name, text)

    def odd(self, object_name: str, sentence: str) -> None:
        """Something about an answer is not as it should be."""
        self._drift.odd(object_name, sentence)

    def note(self, tx: Session, domain: Domain, taken: Taken, at: str) -> None:
        """Write the drift down with the answer that showed it."""
        for key in taken.applied.backwards:
            self._drift.odd(domain.object_name, BACKWARDS, key)
        for name, sentence, example in taken.applied.oddities:
            self._drift.odd(name, sentence, example)
        for one in taken.reading.candidates:
            if AHEAD in one.notes:
                self._drift.odd(domain.object_name, AHEAD, str(one.id))
            self._drift.implausible(domain.object_name, domain.table, one.values)
            if one.faults:
                self._drift.faulty(domain.object_name, one.faults, fields_of(one.raw))
        self._drift.write(tx, at)

    def committed(self, touched: Touched, shipments: Iterable[int] = ()) -> None:
        """These objects were written; `shipments` are those whose events ended."""
        tags: set[Hashable] = {(name, key) for name, keys in touched.items() for key in keys}
        tags.update(("shipments", number) for number in shipments)
        self._cache.drop({*tags, *touched, "pages"})
        if touched.get("documents"):
            self.documents(touched["documents"])
        for call in self.on_commit:
            call()

    def judged(self) -> None:
        """Exceptions opened, moved or closed."""
        self._cache.drop({"exceptions", "pages"})
        for call in self.on_commit:
            call()
