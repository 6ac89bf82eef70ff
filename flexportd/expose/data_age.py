"""How long ago what is shown was last known to be what Flexport has: the header `Age` (RFC 9111) of a mirror."""

import contextlib
from collections.abc import Iterable

from flexportd.clock import Clock, parse
from flexportd.core.resources.resource_type import ResourceType
from flexportd.errors import UnavailableError
from flexportd.storage.database import Database
from flexportd.storage.repositories.sync import ListState

_INTERVAL = 10.0  # seconds between looks
_PREFIX = "/api/v1/"


class Freshness:
    """When each resource's list was last read to its end, or asked for its changes."""

    def __init__(self, db: Database, clock: Clock, domains: Iterable[ResourceType]) -> None:
        self._db = db
        self._clock = clock
        self._routes = {domain.name: domain.route for domain in domains}
        self._confirmed: dict[str, float] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with contextlib.suppress(UnavailableError):  # the next look tells
                await self.refresh()
            await self._clock.sleep(_INTERVAL)

    async def refresh(self) -> None:
        """Read when each list was confirmed."""
        states = await self._db.read(lambda tx: tx.sync.list_states())
        found = {route: _confirmed(states[name]) for name, route in self._routes.items() if name in states}
        self._confirmed = {route: at for route, at in found.items() if at is not None}

    def age(self, path: str) -> int | None:
        """Seconds since what this path shows was last confirmed; None where nobody can say."""
        if not self._confirmed or not path.startswith(_PREFIX):
            return None
        at = self._confirmed.get(path[len(_PREFIX) :].partition("?")[0].partition("/")[0])
        return None if at is None else max(0, int(self._clock.now().timestamp() - at))


def _confirmed(state: ListState) -> float | None:
    moments = [at for at in (state.complete_at, state.incremental_since) if at]
    return parse(max(moments)).timestamp() if moments else None
