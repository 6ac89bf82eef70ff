"""Text from elsewhere, however hostile, is worked off in a time that grows with its length and no faster.

What hangs is broken off after seconds of processor time: what is linear takes milliseconds for the same texts.
"""

import importlib
import json
import pkgutil
import re
import signal
import sys
from contextlib import contextmanager

import pytest

import flexportd
from flexportd.core.calendar import clean_line
from flexportd.core.changes.topics import milestone_topic
from flexportd.core.documents.file_types import HEAD_SIZE, FileNames, file_name, media_type, reject_reason
from flexportd.core.exceptions import model as cases
from flexportd.core.resources.money import amount
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.values import day, instant, moment, split_joined
from flexportd.core.schema_drift import SchemaDrift
from flexportd.core.search.normalise import locate, normalise
from flexportd.escape import escape_control
from flexportd.expose.feeds.export import Export
from flexportd.expose.openapi.parameters import NOT_BLANK, NOT_BLANK_WORD, strip
from flexportd.flexport.models import fast_models
from flexportd.settings.errors import format_value
from tests import events

MANY = 30_000
SECONDS = 2.5

for _module in pkgutil.walk_packages(flexportd.__path__, "flexportd."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

OWN = ("flexportd.storage.", "flexportd.sandbox.", "flexportd.expose.openapi.")  # these read texts of our own
# Only ever matched from the beginning of a text, or against the whole of it, where it takes linear time.
ANCHORED = {
    "flexportd.settings.addresses._ENTRY",
    "flexportd.settings.addresses._HOST",
    "flexportd.settings.config_file._ASSIGNMENT",
    "flexportd.settings.config_file._HEADER",
    "flexportd.core.access.keys._SPAN",
    "flexportd.core.labels._ENUM_VALUE",
    "flexportd.http.client_ip._WITH_PORT",
    "flexportd.escape._FORMULA",
}
FOR_OUR_TEMPLATES = {"flexportd.expose.dashboard.render._POST_FORM"}
PATTERNS = {
    f"{module}.{name}": value
    for module, loaded in sys.modules.items()
    if module.startswith("flexportd.") and not module.startswith(OWN)
    for name, value in vars(loaded).items()
    if isinstance(value, re.Pattern) and f"{module}.{name}" not in FOR_OUR_TEMPLATES
}
PATTERNS |= {"FILLED": re.compile(NOT_BLANK), "WORD": re.compile(NOT_BLANK_WORD)}


@contextmanager
def within(seconds=SECONDS):
    def end(*_):
        raise AssertionError(f"it was still at it after {seconds} s of processor time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def hostile(pattern):
    """Long runs of each character and word of a pattern, each with an end at which a match fails."""
    source = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    pieces = {*re.findall(r"[^\\\[\](){}|*+?^$]", source), *re.findall(r"[\w/<>!.-]{2,12}", source)}
    pieces |= {" ", "\t", "\0", "a", "1", "0.", "a_", "<!---->", "<!--", "//", '"', "\\a", "'", "[", "\u0315", " a"}
    for piece in sorted(pieces):
        run = piece * (MANY // len(piece))
        yield run
        yield f"x{run}\0"
        yield f"{piece}{' ' * MANY}!"
        yield f"{piece}{'1' * MANY}!"


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_no_pattern_takes_more_than_linear_time(name):
    pattern = PATTERNS[name]
    ways = [pattern.match, pattern.fullmatch] + [pattern.search] * (name not in ANCHORED)
    with within():
        for text in hostile(pattern.pattern):
            for way in ways:
                way(text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace"))


RUNS = [
    " " * MANY, "\u3000" * MANY, "a" * MANY, "," * MANY, "1" * MANY, "-" * MANY, "=" * MANY, "<" * MANY, "\0" * MANY,
    "a" + " " * MANY + "b", "\u0315\u0300" * (MANY // 2), "\u0315" * (MANY // 2) + "\u0300" * (MANY // 2),
    "\ufdfa" * (MANY // 10), "<!---->" * (MANY // 7), "po" + " " * MANY + "x", "skus" + " " * MANY + "x",
    "p" + " " * MANY + "o" + " " * MANY + "#!", "9" * MANY + ".5", "1e" + "9" * MANY, "2026-03-04T" + "0" * MANY,
    "//" * (MANY // 2), "\u202e" * MANY, "a." * (MANY // 2), "#" + "_" * MANY, "\u0130" * MANY,
]  # fmt: skip

READERS = {
    "fold": normalise,
    "found_at": lambda text: locate(text, "abc"),
    "line": clean_line,
    "strip": strip,
    "joined": split_joined,
    "moment": moment,
    "instant": instant,
    "day": day,
    "amount": amount,
    "milestone_topic": milestone_topic,
    "harmless": escape_control,
    "shown": format_value,
    "file_name": lambda text: file_name(text, "1", "application/pdf", text),
    "objection": lambda text: reject_reason(text, text.encode()[:HEAD_SIZE]),
    "media_type": lambda text: media_type(text, text.encode()),
    "csv": lambda text: Export("csv", ("name",)).encode([{"name": text}]),
    "zone": lambda text: cases.local_zone(None, text),
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_of_foreign_text_takes_more_than_linear_time(name):
    with within():
        for text in RUNS:
            READERS[name](text)


def everywhere(value, text):
    """The value with this text in the place of each text, and as an additional key of each object."""
    if isinstance(value, dict):
        kept = {"_object", "id"}
        return {key: part if key in kept else everywhere(part, text) for key, part in value.items()} | {text: text}
    if isinstance(value, list):
        return [everywhere(part, text) for part in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("made", [events.shipment, events.leg, events.container])
def test_no_text_in_an_object_takes_more_than_linear_time_to_normalise(made):
    domain = Registry().of_object(made()["_object"])
    with within(4 * SECONDS):
        for text in RUNS:
            body = json.dumps(everywhere(made(metadata={text: [text]}), text)).encode()
            model, _ = fast_models.load_fast(domain.wire, body)
            domain.normalise(model)
            SchemaDrift().inspect(domain.object_name, body)


@pytest.mark.parametrize(
    ("head", "page"),
    [
        (b"<!---->" * 146, False),
        (b"<!---->" * 140 + b"<html>", True),
        (b"<!-->" * 100 + b"<html>", True),
        (b"<!-- " + b"-" * 1019, False),
        (b"\xef\xbb\xbf \n<?xml version='1.0'?>\n<!-- a > b -->\n<!DOCTYPE  html>", True),
        (b"<?xml version='1.0'?><invoice/>", False),
        (b"<?xml" * 200, False),
        (b"<!doctype" + b" " * 1010 + b"x", False),
        (b" " * 1024, False),
        (b"\n\t<HTML lang=en>", True),
        (b"<header>", False),
        (b"<head>", True),
        (b"<body class=x>", True),
        (b"%PDF-1.4 <html>", False),
    ],
)
def test_a_web_page_is_known_behind_comments_and_nothing_else_is_taken_for_one(head, page):
    with within():
        assert ((reject_reason("text/plain", head[:HEAD_SIZE]) or "").startswith("a web page")) is page


@pytest.mark.parametrize(
    ("key", "filled"),
    [
        ("PO #", True),
        ("  p.o.  number ", True),
        ("Purchase-Orders no.", True),
        ("purchase  order", False),
        ("pot", False),
    ],
)
def test_metadata_keys_that_mean_orders_are_still_known(key, filled):
    domain = Registry()["shipments"]
    model, _ = fast_models.load_fast(domain.wire, json.dumps(events.shipment(metadata={key: ["4471"]})).encode())
    assert (domain.normalise(model)["purchase_orders"] == '["4471"]') is filled


def test_thousands_of_files_of_one_name_are_numbered_one_by_one():
    names = FileNames("index.csv")
    with within():
        found = [names.unique("invoice.pdf") for _ in range(20_000)]
    assert found[:3] == ["invoice.pdf", "invoice-2.pdf", "invoice-3.pdf"]
    assert len(set(found)) == 20_000
