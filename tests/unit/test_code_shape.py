"""What every module shares: a name that says something, and packages that state their job."""

import ast
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
