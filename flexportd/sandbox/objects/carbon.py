"""`POST /carbon_calculation`: a figure from weight, distance and mode, with textbook factors."""

from collections.abc import Mapping

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog.kinds import Wire

# Grams of CO2 equivalent per ton and kilometre, and default kilometres.
_MODES = {"air": (602.0, 8_000.0), "ocean": (16.0, 18_000.0), "rail": (28.0, 2_000.0), "truck": (105.0, 800.0)}
_TONS_A_TEU = 10.0
_LENGTHS = {"km": 1.0, "mi": 1.609344, "m": 0.001, "cm": 0.000_01, "in": 0.000_025_4}
_WEIGHTS = {"kg": 0.001, "lbs": 0.00045359237, "t": 1.0}


def calculation(body: object) -> Wire:
    """The result of a request. Raises InvalidError for one without a mode or a weight."""
    if not isinstance(body, Mapping):
        raise InvalidError("The body must be an object.", "body")
    mode = body.get("transportation_mode")
    if mode not in _MODES:
        raise InvalidError(f"transportation_mode must be one of {', '.join(_MODES)}.", "transportation_mode")
    grams, default_distance = _MODES[str(mode)]
    tons = _quantity(body.get("chargeable_weight") or body.get("weight"), _WEIGHTS, "weight")
    if tons is None and body.get("teus") is not None:
        tons = _number(body["teus"], "teus") * _TONS_A_TEU
    if tons is None:
        raise InvalidError("weight, chargeable_weight or teus is needed.", "weight")
    distance = _quantity(body.get("distance"), _LENGTHS, "distance")
    emitted = tons * (default_distance if distance is None else distance) * grams / 1_000_000
    weight = {"_object": "/quantity/weight", "value": round(emitted, 4), "unit": "t"}
    return {"_object": "/carbon_calculation", "co2e_emissions": weight}


def _quantity(given: object, units: Mapping[str, float], name: str) -> float | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("unit") not in units:
        raise InvalidError(f"{name} must be an object with value and unit, one of {', '.join(units)}.", name)
    return _number(given.get("value"), name) * units[str(given["unit"])]


def _number(given: object, name: str) -> float:
    """A number, or a text that is one: samples have both."""
    try:
        found = float(given) if isinstance(given, int | float | str) else -1.0
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e12:
        raise InvalidError(f"{name} must be a number of 0 or more.", name)
    return found
