"""Who may see which shipments: the marks that shipments bear, kept as they move."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexportd.core.access.audiences import audience_tags
from flexportd.core.resources import registry, shipments
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.storage.database import Database
from flexportd.storage.migrate import migrations, split_statements
from flexportd.storage.repositories.audiences import Audience, audience_condition
from flexportd.storage.repositories.resources import Record

AT = "2026-03-04T02:41:10.000Z"
ACME = Audience("consignee", ("Acme GmbH",))
BLANK = dict.fromkeys(shipments.TABLE.names)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
values = st.one_of(texts, st.lists(st.one_of(texts, st.integers(0, 9), st.none()), max_size=3), st.integers(0, 9))


def _text(value):
    return msgspec.json.encode(value).decode() if value else None


def _record(number, consignees=(), metadata=None, day=1, **fields):
    given = {"consignees": _text(consignees), "metadata": _text(metadata), **fields}
    return Record(number, {**BLANK, **given}, "{}", f"2026-01-{day:02}T00:00:00.000Z", 1, "webhook", AT, AT)


def _put(*records):
    def work(tx):
        workspace = UnitOfWork(tx)
        for record in records:
            workspace.put(registry.Registry()["shipments"], record, ChangeCause(AT, "webhook", "evt"))
        workspace.flush(AT)

    return work


def _seen(audience):
    def read(tx):
        sql = f"SELECT id FROM shipments WHERE {audience_condition('id')} ORDER BY id"
        return [row[0] for row in tx.raw.execute(sql, audience.parameters)]

    return read


def test_marks_are_the_consignees_and_each_text_of_the_metadata():
    fields = {**BLANK, "consignees": '["Acme GmbH"," Other "]', "metadata": '{"team":["a",1,null,"b"],"po":"7 ","x":3}'}
    assert audience_tags(fields) == [
        ("consignee", "Acme GmbH"), ("consignee", "Other"),
        ("metadata:team", "a"), ("metadata:team", "b"), ("metadata:po", "7"),
    ]  # fmt: skip
    assert audience_tags(BLANK) == []


async def test_an_audience_sees_the_shipments_that_bear_its_mark_in_any_case(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        await db.write(
            _put(
                _record(1, ["Acme GmbH"]),
                _record(2, ["ACME gmbh", "Other"]),
                _record(3, ["Acme GmbH & Co"]),
                _record(4, metadata={"customer": ["Acme GmbH"]}),
                _record(5),
            )
        )
        assert await db.read(_seen(ACME)) == [1, 2]
        assert await db.read(_seen(Audience("metadata:customer", ("acme gmbh", "x")))) == [4]
        assert await db.read(_seen(Audience("metadata:Customer", ("acme gmbh",)))) == []
        assert await db.read(_seen(Audience("consignee", ("Acme%", "' OR 1=1 --")))) == []
        assert await db.read(lambda tx: tx.audiences.visible(ACME, [1, 3, 2, 77])) == {1, 2}
        assert await db.read(lambda tx: tx.audiences.visible(ACME, [])) == set()
        assert await db.read(lambda tx: tx.audiences.count(Audience("consignee", ("Acme GmbH", "Other")))) == 2


async def test_marks_follow_the_shipment(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        await db.write(_put(_record(1, ["Acme GmbH"])))
        await db.write(_put(_record(1, ["Other"], day=2)))
        assert await db.read(_seen(ACME)) == []
        await db.write(_put(_record(1, ["Other"], {"customer": "Acme GmbH"}, day=3)))
        assert await db.read(_seen(Audience("metadata:customer", ("Acme GmbH",)))) == [1]
        assert await db.read(_seen(Audience("consignee", ("other",)))) == [1]


async def test_marks_are_written_only_when_what_they_come_from_moved(tmp_path):
    async with Database.open(tmp_path / "data") as db:
        await db.write(_put(_record(1, ["Acme GmbH"])))
        await db.write(lambda tx: tx.raw.execute("DELETE FROM shipment_audiences"))
        await db.write(_put(_record(1, ["Acme GmbH"], day=2, status="x")))
        assert await db.read(_seen(ACME)) == []  # untouched


async def test_who_sees_what_is_looked_up_by_an_index(tmp_path):
    async with Database.open(tmp_path / "data") as db:

        def plan(tx):
            sql = f"EXPLAIN QUERY PLAN SELECT id FROM legs WHERE {audience_condition('shipment_id')}"
            rows = tx.raw.execute(sql, ACME.parameters).fetchall()
            rows += tx.raw.execute("EXPLAIN QUERY PLAN " + tx.audiences._sql["visible"], ("[1]", *ACME.parameters))
            return [row[3] for row in rows]

        steps = await db.read(plan)
        searched = [step for step in steps if step.startswith(("SEARCH shipment_audiences", "SEARCH a "))]
        assert ["attribute=? AND value=?" in step for step in searched] == [True, True]
        assert "shipment_id=?" in searched[1]
        assert not [
            step for step in steps if step.startswith("SCAN") and "json_each" not in step and "wanted" not in step
        ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.tuples(st.lists(texts, max_size=3), st.dictionaries(texts, values, max_size=3)), min_size=1, max_size=5)
)
async def test_shipments_from_before_are_marked_as_new_ones_are(tmp_path_factory, found):
    async with Database.open(tmp_path_factory.mktemp("store") / "data") as db:
        await db.write(_put(*(_record(number, *one) for number, one in enumerate(found))))

        def again(tx):
            before = set(tx.raw.execute("SELECT * FROM shipment_audiences"))
            tx.raw.execute("DELETE FROM shipment_audiences")
            (step,) = [step for step in migrations() if step.name == "keys_and_shares"]
            for statement in split_statements(step.sql):
                if "INSERT OR IGNORE" in statement:
                    tx.raw.execute(statement.replace("(mark,", "(attribute,"))
            return before, set(tx.raw.execute("SELECT * FROM shipment_audiences"))

        before, after = await db.write(again)
        assert {(mark, value.lower(), number) for mark, value, number in before} == {
            (mark, value.lower(), number) for mark, value, number in after
        }


# --- since when ---

NAMES = st.sampled_from(["Acme GmbH", " ACME gmbh ", "Acme Ltd", "Other", "Ötker", "ötker"])
STATES = st.tuples(
    st.lists(NAMES, max_size=2),
    st.dictionaries(st.sampled_from(["team", 'o"dd.$', "x"]), st.one_of(NAMES, st.lists(NAMES))),
)
AUDIENCES = [
    ACME,
    Audience("consignee", ("Acme GmbH", "Acme Ltd")),
    Audience("metadata:team", ("acme gmbh",)),
    Audience('metadata:o"dd.$', ("Acme Ltd", "Ötker")),
]


def _is_of(audience, names, metadata):
    wanted = {value.encode().lower() for value in audience.values}
    borne = audience_tags({**BLANK, "consignees": _text(names), "metadata": _text(metadata)})
    return any(mark == audience.mark and value.encode().lower() in wanted for mark, value in borne)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(STATES, min_size=1, max_size=6))
async def test_a_shipment_is_an_audiences_since_the_last_change_that_made_it_so(tmp_path_factory, states):
    async with Database.open(tmp_path_factory.mktemp("store") / "data") as db:
        for day, (names, metadata) in enumerate(states, 1):
            await db.write(_put(_record(1, names, metadata, day=day, name=str(day))))

        def read(tx):
            return [tx.audiences.membership_starts(one, [1]).get(1) for one in AUDIENCES], dict(
                tx.raw.execute("SELECT id, as_of FROM changes").fetchall()
            )

        starts, days = await db.read(read)
    for audience, start in zip(AUDIENCES, starts, strict=True):
        of_it = [_is_of(audience, *state) for state in states]
        if not of_it[-1]:
            continue
        first = len(of_it) - (of_it[::-1].index(False) if False in of_it else len(of_it))
        found = 0 if start is None else int(days[start.id][8:10]) - 1
        assert found == first, audience
