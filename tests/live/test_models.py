"""Our models against what really comes: a page of every list, GET only.

FLEXPORT_API_KEY=... make live
"""

import json

import pytest

from flexportd.clock import Clock
from flexportd.core.resources.registry import Registry
from flexportd.core.schema_drift import SchemaDrift
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.errors import FlexportError
from flexportd.flexport.lists import EVENTS, LISTS
from flexportd.flexport.models.events import parse_content, parse_heads
from flexportd.flexport.oauth.auth import ApiKeyAuth
from tests.live.conftest import BASE_URL

pytestmark = pytest.mark.live


@pytest.fixture
async def client(key):
    async with Client(ClientRules(BASE_URL, 2.0, 1), ApiKeyAuth(key), Clock()) as found:
        yield found


async def first_page(client, path):
    try:
        return await client.page(path, {}, 1, "interactive")
    except FlexportError as error:
        if error.response.status in (401, 403, 404):
            pytest.skip(f"this account may not read {path}: {error.response.status}")
        raise


@pytest.mark.parametrize("domain", list(Registry()), ids=lambda domain: domain.name)
async def test_every_object_is_read_whole(client, domain, record_property):
    page = await first_page(client, LISTS[domain.object_name].path)
    if not page.rows:
        pytest.skip(f"this account has no {domain.route}")
    drift, keys = SchemaDrift(), set()
    for row in page.rows:
        model, set_aside = domain.wire.load(row)
        assert set_aside == [], f"{domain.name} {model.key}"
        assert set(domain.normalise(model)) | set(domain.derived) == set(domain.table.names)
        assert domain.parse_id(str(model.key)) == model.key
        keys.add(model.key)
        drift.inspect(domain.object_name, row)
    assert len(keys) == len(page.rows)
    assert page.notes == []
    record_property("drift", json.dumps([f"{one.kind}: {one.name}" for one in drift.drain()]))


@pytest.mark.parametrize(
    "domain", [one for one in Registry() if LISTS[one.object_name].has_detail], ids=lambda domain: domain.name
)
async def test_list_and_show_are_the_same(client, domain):
    facts = LISTS[domain.object_name]
    page = await first_page(client, facts.path)
    if not page.rows:
        pytest.skip(f"this account has no {domain.route}")
    key = domain.wire.load(page.rows[0])[0].key
    shown = await client.get(facts.path, str(key), "interactive")
    assert json.loads(shown.text).keys() == json.loads(page.rows[0]).keys()


async def test_events_are_read(client):
    page = await first_page(client, EVENTS)
    if not page.rows:
        pytest.skip("no webhook was ever sent for this account")
    for row in page.rows:
        (head,) = parse_heads(row)
        assert head.id
        assert head.type
        parse_content(row)
