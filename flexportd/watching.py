"""What follows from a change of the store: finished answers that show it are dropped."""

from collections.abc import Hashable, Iterable

from flexportd.cache import AnswerCache
from flexportd.core.intake import Touched, Watcher


class Watching(Watcher):
    """Told of every commit, whatever brought it."""

    def __init__(self, cache: AnswerCache) -> None:
        self._cache = cache

    def committed(self, touched: Touched, shipments: Iterable[int] = ()) -> None:
        """These objects were written; `shipments` are those whose events ended."""
        tags: set[Hashable] = {(name, key) for name, keys in touched.items() for key in keys}
        tags.update(("shipments", number) for number in shipments)
        self._cache.drop({*tags, *touched, "pages"})
