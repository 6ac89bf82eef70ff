"""The architecture document names modules, classes and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("docs/architecture.md", "docs/sync.md", "docs/security.md", "docs/exceptions.md", "CONTRIBUTING.md")
MODULE = re.compile(r"`(?:flexportd/)?([\w/]+\.py)`((?:,? (?:and )?`[\w.]+`)*)")  # and the names right behind it
NAME = re.compile(r"_?[A-Za-z]\w*(\.\w+)*")


def defined(path):
    """The qualified names that a module defines."""
    names = set()

    def collect(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    collect(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(prefix + target.id for target in targets if isinstance(target, ast.Name))

    collect(ast.parse(path.read_text("utf-8")).body, "")
    return names


def references():
    """(document, module, name or None) of everything that a document names in code."""
    for document in DOCUMENTS:
        for module, names in MODULE.findall((ROOT / document).read_text("utf-8")):
            yield document, module, None
            for name in re.findall(r"`([\w.]+)`", names):
                if NAME.fullmatch(name) and not name.endswith(".py"):
                    yield document, module, name


@pytest.mark.parametrize(("document", "module", "name"), sorted(set(references()), key=str))
def test_what_a_document_names_exists(document, module, name):
    places = [path for path in (ROOT / "flexportd" / module, ROOT / module, ROOT / "tests" / module) if path.is_file()]
    assert places, f"{document} names {module}, which does not exist"
    if name is not None and places[0].is_relative_to(ROOT / "flexportd"):
        assert name in defined(places[0]), f"{document} names {name} in {module}, which does not define it"
