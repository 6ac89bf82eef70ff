"""Age of the data (header `Age`, RFC 9111): time since it was last compared with Flexport."""

import contextlib
from collections.abc import Iterable

from flexportd.clock import Clock, parse
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.repositories.sync import ListState

_INTERVAL = 10.0  # seconds between refreshes
_PREFIX = "/api/v1/"


class Freshness:
    """When each resource was last read completely, or its changes were."""

    def __init__(self, db: Database, clock: Clock, domains: Iterable[ResourceType]) -> None:
        self._db = db
        self._clock = clock
        self._routes = {domain.name: domain.route for domain in domains}
        self._confirmed: dict[str, float] = {}

    async def run(self) -> None:
        """Refresh periodically, until cancelled."""
        while True:
            with contextlib.suppress(UnavailableError):  # until the next refresh
                await self.refresh()
            await self._clock.sleep(_INTERVAL)

    async def refresh(self) -> None:
        """Load when each list was confirmed."""
        states = await self._db.read(lambda tx: tx.sync.list_states())
        confirmed = {route: _confirmed(states[name]) for name, route in self._routes.items() if name in states}
        self._confirmed = {route: at for route, at in confirmed.items() if at is not None}

    def age(self, path: str) -> int | None:
        """Seconds since the data of this path was last confirmed; None if unknown."""
        if not self._confirmed or not path.startswith(_PREFIX):
            return None
        at = self._confirmed.get(path[len(_PREFIX) :].partition("?")[0].partition("/")[0])
        return None if at is None else max(0, int(self._clock.now().timestamp() - at))


def _confirmed(state: ListState) -> float | None:
    moments = [at for at in (state.complete_at, state.incremental_since) if at]
    return parse(max(moments)).timestamp() if moments else None
