"""What is known of an object stays where Flexport sends something of another type in its place."""

import json

import pytest

from flexportd.clock import Clock
from flexportd.core.importer.importer import Importer, ImportObserver, RequestStart
from flexportd.core.resources.registry import Registry
from flexportd.core.resources.values import day, instant, moment
from flexportd.core.schema_drift import SchemaDrift
from flexportd.core.unit_of_work import ChangeCause
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.wire import FieldDoubt
from flexportd.storage.database import Database
from tests.events import event
from tests.small_flexport import one_of_each
from tests.unit.test_convergence import Store

REGISTRY = Registry()
JUNK = [
    1_773_012_345,
    1_773_012_345_678,
    20_260_304,
    -1.5,
    2**70,
    True,
    [],
    [[1], None],
    {},
    {"id": {"a": 1}, "data": []},
    {"amount": "twelve", "value": "twelve", "name": {"x": 1}, "id": [1]},
    "x" * 5_000,
    "true",
    "1773012345678",
    "2026-02-30",
    "2026-13-01T00:00:00Z",
    "NaN",
    "  ",
    "",
    None,
]
TIMES = {"moment", "deadline", "day"}


def sample(domain):
    """An object of it with all its times."""
    found = next(one for one in one_of_each() if one["_object"] == domain.object_name)
    times = [name for name in domain.wire.model_fields if name.endswith(("_at", "_date")) and found.get(name) is None]
    return {**found, **dict.fromkeys(times, "2026-03-04T12:00:00.000Z")}


def damaged(domain):
    """(field, junk, object) for each field of the wire model and each junk; what names the object stays."""
    found = sample(domain)
    named = {"id"} if "id" in domain.wire.model_fields else set(domain.wire.model_fields)
    for field in domain.wire.model_fields:
        if field not in {*named, "object_name"}:
            for junk in JUNK:
                yield field, junk, {**found, field: junk}


def key_field(domain, key):
    return {} if "id" not in domain.wire.model_fields else {"id": key if domain.ids == "integer" else str(key)}


def judge(domain, field, junk, before, after, *, faulty):
    """Each field of ours: as it was, unless the wire field feeds it and came readable, or empty."""
    fed = set(domain.fields_from(field))
    follows = set(domain.derived) if any(name.startswith("own_") for name in fed) else set()
    for name in domain.table.names:
        if (name not in fed and name not in follows) or faulty:
            assert after[name] == before[name], (field, junk, name)
    kinds = {one.name: one.kind for one in domain.table.fields}
    for name in fed:
        is_time = kinds[name] in TIMES or name.endswith("_at")
        if is_time and after[name] != before[name]:
            # A time that says nothing is the only one that takes another's place.
            assert after[name] is None, (field, junk)
            assert junk in ("", "  ", None) or isinstance(junk, dict), (field, junk)


def is_faulty(faults):
    """Whether the field was set aside; one that is merely doubtful is read."""
    return any(not isinstance(fault, FieldDoubt) for fault in faults)


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path) as found:
        yield found


class Noted(ImportObserver):
    def __init__(self):
        self.drift = SchemaDrift()
        self.faults = {}

    def inspect(self, object_name, text):
        self.drift.inspect(object_name, text)

    def record_import(self, tx, domain, taken, at):
        for one in taken.comparison.candidates:
            self.faults[one.id] = one.faults


@pytest.mark.parametrize("name", [domain.name for domain in REGISTRY])
async def test_an_answer_of_another_type_takes_nothing_away(db, name):
    domain, noted = REGISTRY[name], Noted()
    intake = Importer(db, Clock(), noted)
    cases = [
        (field, junk, {**one, **key_field(domain, place)})
        for place, (field, junk, one) in enumerate(damaged(domain), 1)
    ]
    good = [{**sample(domain), **key_field(domain, place)} for place in range(1, len(cases) + 1)]
    if not cases:
        return

    async def take(rows, at):
        found = await intake.compare(domain, [json.dumps(row).encode() for row in rows], (at, at), RequestStart())
        return (await intake.apply([found], ChangeCause(at, "sync")))[0]

    async def stored():
        rows = await db.read(
            lambda tx: tx.resources.load(domain.table, [domain.parse_id(str(n)) for n in range(1, len(cases) + 1)])
        )
        return {int(key): record.fields for key, record in rows.items()}

    await take(good, "2026-06-01T00:00:00.000Z")
    before = await stored()
    taken = await take([one for _, _, one in cases], "2026-06-02T00:00:00.000Z")
    assert taken.comparison.failures == []
    after = await stored()
    for place, (field, junk, _) in enumerate(cases, 1):
        faults = noted.faults.get(domain.parse_id(str(place)), [])
        assert {fault.field for fault in faults} <= {field}
        judge(domain, field, junk, before[place], after[place], faulty=is_faulty(faults))


@pytest.mark.parametrize("name", [domain.name for domain in REGISTRY])
def test_an_event_of_another_type_takes_nothing_away(tmp_path, name):
    domain, store = REGISTRY[name], Store(tmp_path / "x.db")
    cases = [
        (field, junk, {**one, **key_field(domain, place)})
        for place, (field, junk, one) in enumerate(damaged(domain), 1)
    ]

    def told(one, at):
        stamped = {
            name: at for name in ("updated_at", "last_updated_at") if one.get(name) == "2026-06-01T00:00:00.000Z"
        }
        return event({**one, **stamped}, created_at=at, occurred_at=at)

    try:
        good = [{**sample(domain), **key_field(domain, place)} for place in range(1, len(cases) + 1)]
        store.apply([event(one, created_at="2026-06-01T00:00:00.000Z") for one in good], 200)
        keys = [domain.parse_id(str(place)) for place in range(1, len(cases) + 1)]

        def load():
            return {str(key): one.fields for key, one in store.tx.resources.load(domain.table, keys).items()}

        before = load()
        fresh = [
            {
                **one,
                **(
                    {"updated_at": "2026-06-02T00:00:00.000Z"}
                    if domain.name == "shipments" and field != "updated_at"
                    else {}
                ),
            }
            for field, _, one in cases
        ]
        store.apply([event(one, created_at="2026-06-02T00:00:00.000Z") for one in fresh], 200)
        after = load()
        assert len(after) == len(cases)
        for place, (field, junk, one) in enumerate(cases, 1):
            faults = fast_models.load_fast(domain.wire, json.dumps(one).encode())[1]
            judge(domain, field, junk, before[str(place)], after[str(place)], faulty=is_faulty(faults))
    finally:
        store.close()


@pytest.mark.parametrize("name", [domain.name for domain in REGISTRY])
def test_every_field_of_ours_is_fed_by_what_it_is_said_to_be(name):
    """`fed_by` against `normalise`: without a wire field, nothing but what it feeds may change."""
    domain, found = REGISTRY[name], sample(REGISTRY[name])
    whole = domain.normalise(fast_models.load_fast(domain.wire, json.dumps(found).encode())[0])
    for field in found.keys() & domain.wire.model_fields.keys() - {"id"}:
        try:
            model, _ = fast_models.load_fast(domain.wire, json.dumps({**found, field: None}).encode())
            without = domain.normalise(model)
        except ValueError:
            continue
        moved = {name for name in whole if whole[name] != without[name]}
        # Without its place a time is written with another offset.
        moved -= {name for name in moved & set(domain.table.moments) if instant(whole[name]) == instant(without[name])}
        assert moved <= set(domain.fields_from(field)), field


@pytest.mark.parametrize(
    "value",
    [
        1_773_012_345,
        "1773012345",
        "1773012345678",
        "1773-01",
        "20260304",
        [],
        {},
        True,
        1e9,
        "x",
        "2026-02-30",
        "2026-W10-1",
    ],
)
def test_what_is_no_time_is_none(value):
    assert instant(value) is None
    if isinstance(value, str):
        assert (moment(value), day(value)) == (None, None)
