"""What every module and class shares: a name of the field, used once, and packages that state their job."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2] / "flexportd"
FILES = sorted(path for path in ROOT.rglob("*.py") if "_config" not in path.parts)


def test_no_module_is_named_after_nothing():
    vague = {"utils", "helpers", "common", "base", "misc", "manager"}
    assert not {path.stem for path in FILES} & vague


def test_every_package_says_its_job():
    for path in FILES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_modules_are_nouns():
    """A gerund names an activity; only those that are the field's own nouns may stay."""
    assert {path.stem for path in FILES if path.stem.endswith("ing")} <= {"streaming", "routing"}


def test_a_public_class_name_stands_for_one_class():
    places = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
