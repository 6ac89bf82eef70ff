"""Public names are standard terms: log events are noun_verb, and no retired name returns to the API or the metrics."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import flexportd

SOURCES = sorted(Path(flexportd.__file__).parent.rglob("*.py"))
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z]+(_[a-z]+)+")
RETIRED = {
    "told", "cut", "cuts", "trouble", "hearing", "closes", "heard", "alike", "poorer", "pace", "skips", "worrying", "verdict",
    "deaf", "noticed", "wanted", "tries", "strange", "sound", "fault", "lacking", "budget", "behind", "how", "who",
}  # fmt: skip


def events():
    """The names of all log events, and where each is logged."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and ast.unparse(node.func.value) in ("log", "_log", "self._log")
            ):
                names = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
                yield from ((name, f"{path.name}:{node.lineno}") for name in names)


def words(name):
    return set(re.split(r"[_-]", name))


def test_log_events_are_constant_names_of_two_words_or_more():
    found = list(events())
    assert len(found) > 60
    assert [(name, place) for name, place in found if not EVENT.fullmatch(name) or words(name) & RETIRED] == []


def test_no_retired_name_is_in_the_api():
    printed = subprocess.run([sys.executable, "-m", "flexportd", "openapi"], capture_output=True, check=True)
    schemas = json.loads(printed.stdout)["components"]["schemas"]
    properties = {(schema, name) for schema, one in schemas.items() for name in one.get("properties", ())}
    assert len(properties) > 500
    assert {(schema, name) for schema, name in properties if words(name) & RETIRED} == set()


def test_no_retired_name_is_in_the_metrics():
    names = set(tomllib.loads(Path(flexportd.__file__).with_name("expose").joinpath("metrics.toml").read_text()))
    assert len(names) > 30
    assert {name for name in names if words(name) & RETIRED} == set()
