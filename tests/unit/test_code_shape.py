"""What every module and class shares: a name of the field, used once, and packages that state their job."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile
from pathlib import Path

import pytest

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


def test_no_import_cycle_between_the_modules_and_folders_of_a_package():
    """For each package, what its members import from each other, at whatever depth, has an order."""
    names = {_name(path) for path in FILES}
    imported_by: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in FILES:
        importer = _name(path).split(".")
        for imported in _imports(path, names):
            shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(importer, imported, strict=False))))
            if shared < min(len(importer), len(imported)):
                imported_by[".".join(importer[:shared])][importer[shared]].add(imported[shared])
    assert len(imported_by) > 20
    for package, graph in imported_by.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(f"{package}: {' -> '.join(error.args[1])}")


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, names: set[str]) -> Iterator[list[str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flexportd"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in names else node.module).split(".")
