"""What the jobs that read Flexport are given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from flexportd.clock import Clock
from flexportd.core.intake import Intake
from flexportd.core.registry import Registry
from flexportd.flexport.calls import Purpose
from flexportd.flexport.client import Fetched, ListPage
from flexportd.storage.database import Database


class Asking(Protocol):
    """The client, as far as reading goes."""

    async def page(self, path: str, query: Mapping[str, str], number: int, purpose: Purpose) -> ListPage:
        """One page of a list. Raises FlexportError."""

    async def one(self, path: str, key: str, purpose: Purpose) -> Fetched:
        """One object. Raises FlexportError."""


@dataclass(frozen=True)
class Reach:
    """Made by the composition root."""

    db: Database
    client: Asking
    registry: Registry
    intake: Intake
    clock: Clock
