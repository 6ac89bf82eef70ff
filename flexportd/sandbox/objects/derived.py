"""Objects that follow from a shipment: made when they are read, with ids that lead back to the shipment."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar

from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.catalog.wire_objects import Links
from flexportd.sandbox.ids import int_id, object_number, parse_int_id, parse_text_id, text_id
from flexportd.sandbox.objects.shipment_state import ShipmentState


class DerivedObjects(ABC):
    """Makes the objects of one kind. `first_id` is the first of their whole-number ids; None means text ids."""

    kind: ClassVar[str]
    first_id: ClassVar[int | None] = None

    def __init__(self, links: Links, seed: int) -> None:
        self.links = links
        self._salt = f"{seed}{self.kind}"

    @abstractmethod
    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        """The place of each object among those of its kind, and when it is created. These never change."""

    @abstractmethod
    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        """One object as it is at that instant, which is after its creation and not in the past."""

    def id_of(self, shipment_id: int, place: int) -> int | str:
        """The id of the object at that place of a shipment."""
        number = object_number(shipment_id, place)
        return text_id(self._salt, number) if self.first_id is None else int_id(self.first_id, number)

    def parse_id(self, key: str) -> int | None:
        """The number of an id, see `ids`; none for a text that is no id of this kind."""
        return parse_text_id(self._salt, key) if self.first_id is None else parse_int_id(self.first_id, key)
