"""docs/writes.md: each example is a body that can be sent, each kind and state is described, and others lead to it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flexportd.core.outbox.kinds import OPERATION_KINDS
from flexportd.core.outbox.sender import LOOKUP_DELAYS, MAX_SENDS, MAX_WAIT
from flexportd.core.outbox.validation.account import Account
from flexportd.expose.api import operations
from flexportd.expose.openapi.router import routes_of
from flexportd.storage.database import Database
from flexportd.storage.repositories.operations import STATES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/writes.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"^curl (?:-X (\w+) )?'?http://127\.0\.0\.1:8080/api/v1(/[^\s?']+)[^\n]*? --json '(.*?)'$",
    PAGE,
    re.MULTILINE | re.DOTALL,
)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def kind_of(method, path):
    for route in routes_of(operations):
        pattern = re.sub(r"\{\w+\}", "[^/]+", route.path)
        if route.method == method and re.fullmatch(pattern, f"/api/v1{path}"):
            return next(kind for name, kind in OPERATION_KINDS.items() if name.replace(".", "_") == route.name)
    raise AssertionError(f"no route {method} {path}")


@pytest.mark.parametrize(("method", "path", "body"), EXAMPLES)
async def test_each_example_can_be_sent(tmp_path, method, path, body):
    kind, sent = kind_of(method or "POST", path), json.loads(body)
    async with Database.open(tmp_path) as db:
        assert await db.read(lambda tx: kind.check(sent, Account(tx, NOW), "4711")) == []


def test_all_groups_have_an_example_and_all_kinds_and_states_a_description():
    assert {kind_of(method or "POST", path).group for method, path, _ in EXAMPLES} == {
        kind.group for kind in OPERATION_KINDS.values()
    }
    rows = dict(re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|(.*)\|$", PAGE, re.MULTILINE))
    described = {name: row for names, row in rows.items() for name in re.findall(r"`([a-z_.]+)`", names)}
    assert set(OPERATION_KINDS) | set(STATES) <= set(described)
    for name, kind in OPERATION_KINDS.items():
        group, _, again = (cell.strip() for cell in described[name].split("|"))
        assert (group, again.startswith("yes")) == (kind.group, kind.is_repeatable)


def test_the_numbers_are_those_of_the_sender():
    assert LOOKUP_DELAYS == (30, 120, 600)
    assert "30 seconds, 2 minutes and 10 minutes" in PAGE
    assert (MAX_SENDS, MAX_WAIT.total_seconds()) == (3, 86_400)


def test_other_pages_lead_to_it():
    for page in ("README.md", "docs/exceptions.md", "docs/notifications.md", "docs/architecture.md", "docs/api.md"):
        assert "writes.md" in (ROOT / page).read_text("utf-8"), page


CODE = "\n".join("".join(one) for one in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", PAGE, re.DOTALL))


@pytest.mark.parametrize("words", sorted(set(re.findall(r"^flexportd ([a-z]+ [a-z]+) ", CODE, re.MULTILINE))))
def test_each_command_exists(words):
    group, command = words.split()
    assert f"## `flexportd {group} {command}`" in (ROOT / "docs/cli.md").read_text("utf-8")
