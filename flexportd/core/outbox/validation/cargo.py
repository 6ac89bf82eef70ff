"""The cargo of bookings and amendments: https://apidocs.flexport.com/v2/tag/Booking."""

from flexportd.core.outbox.validation.problems import ObjectReader, check_choice
from flexportd.core.outbox.validation.shapes import check_quantity
from flexportd.core.outbox.validation.vocabulary import (
    CONTAINER_SIZES,
    LENGTH_UNITS,
    LITHIUM_PACKING,
    UNIT_TYPES,
    VOLUME_UNITS,
    WEIGHT_UNITS,
)

_MEASURES = {"weight": WEIGHT_UNITS, "volume": VOLUME_UNITS}
_DANGERS = (
    "contains_hazmat",
    "contains_magnets",
    "contains_other_dangerous_goods",
    "contains_li_ion",
    "contains_non_li_ion_battery",
)
_MAX_COUNT = 2**31 - 1


def check_cargo(parent: ObjectReader, name: str) -> None:
    """Shipping units, several (detailed) or one (simple); weight and volume are on the cargo or on each unit."""
    cargo = parent.child(name)
    if cargo is None:
        return
    cargo.require(*_DANGERS, "shipping_units")
    for danger in _DANGERS:
        cargo.boolean(danger)
    cargo.text("marks_and_numbers", blank=True)
    _check_lithium(cargo)
    for measure, units in _MEASURES.items():
        check_quantity(cargo, measure, units)
    for unit in cargo.children("shipping_units", empty=False):
        _check_unit(unit)
        unit.require(*(one for one in _MEASURES if not cargo.has(one)), reason="here or on the whole cargo")


def check_container_counts(parent: ObjectReader, name: str, *, is_lcl: bool | None) -> None:
    """The numbers of containers by size: all 0 for LCL, else one container or more; None if that is unknown."""
    counts = parent.child(name)
    if counts is None:
        return
    if is_lcl:
        counts.require(*CONTAINER_SIZES, reason="as 0 for an LCL booking")
    total, complete = 0, True
    for size in CONTAINER_SIZES:
        count = counts.integer(size, 0, _MAX_COUNT)
        if count and is_lcl:
            counts.add(size, f"is {count}; an LCL booking has no containers of its own, and 0 is allowed")
        total += count or 0
        complete = complete and (count is not None or not counts.has(size))
    if is_lcl is False and complete and total == 0:
        counts.problems.add(counts.pointer, f"{name} has no container; an FCL booking has one or more")


def _check_lithium(cargo: ObjectReader) -> None:
    field = "lithium_batteries_packing_types"
    if cargo.fields.get("contains_li_ion") is True:
        cargo.require(field, reason="for cargo with lithium-ion batteries")
        types = cargo.items(field, empty=False)
    else:
        types = cargo.items(field)
    for index, packing in enumerate(types):
        place = cargo.place(field, index)
        if packing is None:
            cargo.problems.add(place, f"an item of {field} is null; one of {', '.join(LITHIUM_PACKING)} is allowed")
        check_choice(cargo.problems, place, f"an item of {field}", packing, LITHIUM_PACKING)


def _check_unit(unit: ObjectReader) -> None:
    unit.require("count", "unit_type")
    unit.text("name", blank=True)
    unit.integer("count", 1, _MAX_COUNT)
    if unit.choice("unit_type", UNIT_TYPES) == "pallet":
        unit.require("atomic_count", reason="for pallets")
    unit.integer("atomic_count", 1, _MAX_COUNT)
    for measure, units in _MEASURES.items():
        check_quantity(unit, measure, units)
    for side in ("length", "width", "height"):
        check_quantity(unit, side, LENGTH_UNITS)
