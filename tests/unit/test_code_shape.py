"""The limits of style rule 2: rooms of a size one can live in. The exceptions may only become fewer."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "flexportd"
FILES = sorted(path for path in ROOT.rglob("*.py") if "_config" not in path.parts)

# Why: a command's options are its parameters; the reference of a click tree.
MANY_PARAMETERS = {"cli"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_small(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"
        arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args] if a.arg not in ("self", "cls")]
        if path.relative_to(ROOT).parts[0] not in MANY_PARAMETERS:
            assert len(arguments) <= 5, f"{node.name} has {len(arguments)} parameters"


def test_no_module_is_named_after_nothing():
    vague = {"utils", "helpers", "common", "base", "misc", "manager"}
    assert not {path.stem for path in FILES} & vague


def test_every_package_says_its_job():
    for path in FILES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
