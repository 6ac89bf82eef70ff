"""The catalogue of problems against the code that tells of them."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import flexportd
from flexportd.core.resources.registry import Registry
from flexportd.errors import FlexportdError, RefusedError
from flexportd.expose.api.files import _STATE_PROBLEMS
from flexportd.expose.app import routes
from flexportd.http.problems import (
    AUTH_PROBLEMS,
    COMMON_PROBLEMS,
    FLEXPORT_PROBLEMS,
    PROBLEMS,
    STATUS_OF,
    TITLES,
    UPSTREAM_PROBLEMS,
)

ROOT = Path(flexportd.__file__).parent
SERVED = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in ("cli", "sandbox", "_config")]
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

# Those that are told in other words than a call with both: of aiohttp, and of what nobody foresaw.
OF_HTTP = {"method-not-allowed": 405, "internal-error": 500}


def told():
    """(where, status or None, slug) of every call that tells of a problem."""
    for path in SERVED:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = getattr(node.func, "id", None) if isinstance(node, ast.Call) else None
            if name not in ("RefusedError", "_unauthorised", "_problem_response", "problem"):
                continue
            constants = [one.value for one in node.args if isinstance(one, ast.Constant)]
            slugs = [one for one in constants if isinstance(one, str) and SLUG.fullmatch(one)]
            if slugs:
                status = next((one for one in constants if isinstance(one, int)), None)
                yield f"{path.relative_to(ROOT)}:{node.lineno}", status, slugs[0]


def errors(kind=FlexportdError):
    """Every class of our errors."""
    for module in pkgutil.walk_packages(flexportd.__path__, "flexportd."):
        if not module.name.startswith(
            ("flexportd.cli", "flexportd.sandbox", "flexportd.__main__", "flexportd.settings.__")
        ):
            importlib.import_module(module.name)
    found, new = set(), {kind}
    while new:
        found |= new
        new = {below for one in new for below in one.__subclasses__()} - found
    return {one for one in found if not one.__module__.startswith(("flexportd.cli", "flexportd.sandbox", "tests"))}


def test_every_call_tells_of_a_known_problem_with_its_status():
    calls = list(told())
    assert len(calls) > 20
    for where, status, slug in calls:
        assert slug in PROBLEMS, f"{where}: {slug} is in no catalogue"
        assert status in (None, PROBLEMS[slug].status), f"{where}: {slug} is told with {status}"


def test_every_error_that_reaches_a_client_is_known_with_its_status():
    for kind in errors() - {RefusedError}:
        status = next((STATUS_OF[one] for one in kind.__mro__ if one in STATUS_OF), None)
        if kind.slug in FLEXPORT_PROBLEMS:
            status = FLEXPORT_PROBLEMS[kind.slug][0]
        if status is not None:
            assert kind.slug in PROBLEMS, kind
            assert PROBLEMS[kind.slug].status == status, kind


def test_what_became_of_a_file_is_told_with_the_status_of_the_catalogue():
    for status, slug in _STATE_PROBLEMS.values():
        assert PROBLEMS[slug].status == status


def test_nothing_in_the_catalogue_is_never_told():
    found = {slug for _, _, slug in told()} | {kind.slug for kind in errors()} - {"error"}
    found |= {slug for _, slug in _STATE_PROBLEMS.values()} | set(OF_HTTP) | set(FLEXPORT_PROBLEMS)
    assert set(PROBLEMS) - found == set()
    for slug, status in OF_HTTP.items():
        assert PROBLEMS[slug].status == status


@pytest.mark.parametrize("group", [COMMON_PROBLEMS, AUTH_PROBLEMS, UPSTREAM_PROBLEMS])
def test_groups_name_known_problems(group):
    assert set(group) <= set(PROBLEMS)


def test_routes_name_known_problems_and_every_status_has_a_title():
    for route in routes(Registry(), "/webhooks/flexport"):
        assert set(route.problems) <= set(PROBLEMS), route.name
    assert {kind.status for kind in PROBLEMS.values()} <= set(TITLES)
