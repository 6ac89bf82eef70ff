"""The catalogue of milestones: every event type that Flexport documents, and three more that were observed.

Source: https://apidocs.flexport.com/v2/tag/Milestones. Types are `<prefix>#<name>`; the prefix is not the type of the
resource and varies between pages, so a milestone is found by its name. Those `upon_request` arrive only after Flexport
was asked for them: changes of ETD and ETA are among them. New types may appear at any time.
"""

from importlib import resources
from typing import Literal

import msgspec


class Milestone(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event type; `group` is ours, for colours and filters."""

    type: str
    title: str
    group: Literal["progress", "dates", "customs", "documents", "problems", "billing"]
    upon_request: bool = False
    deprecated: bool = False
    published: bool = True

    @property
    def name(self) -> str:
        """The part after the `#`."""
        return self.type.partition("#")[2]


CATALOGUE = msgspec.json.decode(
    resources.files("flexportd.flexport").joinpath("milestones.json").read_bytes(), type=tuple[Milestone, ...]
)
BY_NAME = {milestone.name: milestone for milestone in CATALOGUE}


def milestone(event_type: str | None) -> Milestone | None:
    """The milestone of an event type, by the part after the `#`; None if it is not in the catalogue."""
    return None if event_type is None else BY_NAME.get(event_type.partition("#")[2])


def title(event_type: str | None) -> str:
    """The title of an event type: that of the catalogue, else its own name made readable."""
    known = milestone(event_type)
    if known:
        return known.title
    return (event_type or "Unknown event").rpartition("#")[2].replace("_", " ").strip().capitalize() or "Unknown event"
