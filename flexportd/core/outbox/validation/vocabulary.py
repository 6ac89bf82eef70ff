"""The words that Flexport documents for the fields of request bodies, from `vocabulary.toml`."""

from pathlib import Path

import msgspec

from flexportd.flexport.models.documents import TYPES
from flexportd.flexport.models.money import MINOR_UNITS

_WORDS = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=dict[str, list[str]])

INCOTERMS = _WORDS["incoterms"]
PAYMENT_TERMS = _WORDS["payment_terms"]
UNIT_TYPES = _WORDS["unit_types"]
CONTAINER_SIZES = _WORDS["container_sizes"]
LITHIUM_PACKING = _WORDS["lithium_packing"]
WEIGHT_UNITS = _WORDS["weight_units"]
VOLUME_UNITS = _WORDS["volume_units"]
LENGTH_UNITS = _WORDS["length_units"]
QUANTITY_UNITS = _WORDS["quantity_units"]
EXPORT_LOCALES = _WORDS["export_locales"]
DOCUMENT_TYPES = sorted({*TYPES, *_WORDS["document_types"]})
COUNTRIES = [code for line in _WORDS["countries"] for code in line.split()]
REGIONS = [*COUNTRIES, "EU"]
CURRENCIES = sorted(MINOR_UNITS)
