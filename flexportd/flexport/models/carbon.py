"""The answer of `POST /carbon_calculation`: what the carriage of goods emits.

Source: CarbonCalculation and Weight of https://apidocs.flexport.com/v2; the units are documented as kg and lbs.
"""

from decimal import Decimal, InvalidOperation, localcontext

from flexportd.errors import MalformedError
from flexportd.escape import escape_control
from flexportd.flexport.models.money import ExactModel
from flexportd.flexport.models.wire import Text, WireModel

_KILOGRAMS = {"kg": Decimal(1), "lb": Decimal("0.45359237"), "lbs": Decimal("0.45359237"), "t": Decimal(1000)}
_LONGEST = 40  # digits that a figure may have, before and after the decimal point


class Emissions(WireModel):
    """A weight; its figure is parsed when it is used."""

    value: Text = None
    unit: Text = None


class CarbonCalculation(ExactModel):
    """What was calculated."""

    co2e_emissions: Emissions | None = None

    def kilograms(self) -> Decimal:
        """The CO2 equivalent, converted exactly. Raises MalformedError where there is none that can be read."""
        said = self.co2e_emissions
        if said is None or said.value is None:
            raise MalformedError("co2e_emissions: no figure")
        try:
            value = Decimal(said.value)
        except InvalidOperation:
            value = Decimal("NaN")
        exponent = value.as_tuple().exponent
        # One that can be written without an exponent in a line.
        is_sane = isinstance(exponent, int) and -_LONGEST <= exponent <= _LONGEST
        if not is_sane or value < 0 or len(value.as_tuple().digits) > _LONGEST:
            raise MalformedError(f"co2e_emissions.value: {escape_control(said.value, 50)!r} is no weight")
        factor = _KILOGRAMS.get((said.unit or "").strip().lower())
        if factor is None:
            found = escape_control(said.unit or "", 50)
            raise MalformedError(f"co2e_emissions.unit: {found!r} is not known; known are {', '.join(_KILOGRAMS)}")
        with localcontext() as exact:
            exact.prec = 2 * _LONGEST
            return value * factor
