"""A list entry that tells less than a shipment's own response takes nothing away; real changes are taken."""

import copy
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.importer.list_entries import SAMPLE, combine, is_less_complete
from tests.events import event, shipment
from tests.unit.test_equal_times import KEY
from tests.unit.test_response_order import Mirror


def party(number, name="Example", ref="id-9"):
    address = {"_object": "/address", "city": "Hamburg", "ref": ref, "zip": "20457"}
    return {"_object": "/company_entity", "id": number, "name": name, "mailing_address": address}


OWN = shipment(
    sellers=[party(1), party(2, "Second")],
    metadata={"PO #": ["4471"]},
    estimated_picked_up_in_full_date="2019-12-22T20:00:00.000-08:00",
    ocean_shipment={"_object": "/ocean/shipment", "house_bill_number": "A1, B2", "master_bill_number": "M1"},
)


def entry(**changed):
    """The same as it was recorded in a list."""
    found = copy.deepcopy(OWN) | {"metadata": {}, "sellers": []}
    found["estimated_picked_up_in_full_date"] = "2019-12-23T04:00:00.000Z"
    found["ocean_shipment"]["house_bill_number"] = "B2, A1"
    return found | changed


def result(stored, found, *, is_newer):
    return json.loads(combine(json.dumps(stored), json.dumps(found), is_newer=is_newer))


@pytest.mark.parametrize("is_newer", [False, True])
def test_what_a_list_entry_leaves_out_or_writes_otherwise_stays_as_it_is_stored(is_newer):
    assert result(OWN, entry(), is_newer=is_newer) == OWN


@pytest.mark.parametrize(
    "changed",
    [
        {"sellers": [party(2, "Second"), party(1)]},
        {"sellers": [party(1, ref=None), party(2, "Second", ref=None)]},
        {"sellers": [{"_object": "/company_entity", "id": 1, "name": "Example"}, party(2, "Second")]},
        {"sellers": None},
        {"ocean_shipment": None},
        {"metadata": None},
    ],
)
@pytest.mark.parametrize("is_newer", [False, True])
def test_parties_in_another_order_or_without_the_references_of_addresses_are_no_change(changed, is_newer):
    assert result(OWN, entry(**changed), is_newer=is_newer) == OWN


def test_at_the_same_time_nothing_is_taken_away_and_what_is_new_is_taken():
    found = result(OWN, entry(metadata={"Season": ["S1"]}, sellers=[party(1)], status="departed"), is_newer=False)
    assert found == OWN | {"metadata": {"PO #": ["4471"], "Season": ["S1"]}, "status": "departed"}


def test_of_a_newer_entry_real_changes_are_taken_and_what_it_leaves_out_remains():
    changed = {
        "status": "departed",
        "estimated_arrival_date": None,
        "estimated_picked_up_in_full_date": "2019-12-24T04:00:00.000Z",
        "sellers": [party(3, "Third")],
        "updated_at": "2026-04-01T00:00:00.000Z",
    }
    found = entry(**changed)
    found["ocean_shipment"] |= {"master_bill_number": "M2"}
    after = result(OWN, found, is_newer=True)
    expected = OWN | changed
    expected["ocean_shipment"] = OWN["ocean_shipment"] | {"master_bill_number": "M2"}
    assert after == expected


def test_a_party_that_is_another_is_not_mixed_with_the_one_before():
    other = {"_object": "/company_entity", "id": 1, "name": "Renamed", "mailing_address": {"city": "Kiel", "ref": None}}
    assert result(OWN, entry(sellers=[other]), is_newer=True)["sellers"] == [other]


def test_numbers_keep_their_digits():
    stored = '{"id":1,"metadata":{"x":"y"},"weight":1.10}'
    assert combine(stored, '{"id":1,"metadata":{},"weight":12345678901234567890.10}', is_newer=True) == (
        '{"id":1,"metadata":{"x":"y"},"weight":12345678901234567890.10}'
    )


def test_an_entry_that_tells_the_same_is_not_poorer():
    def poorer(**changed):
        return is_less_complete(json.dumps(OWN | changed), json.dumps(OWN))

    assert not poorer()
    assert not poorer(sellers=list(reversed(OWN["sellers"])))
    assert not poorer(more="than the response")
    assert poorer(metadata={})
    assert poorer(sellers=[])
    assert poorer(sellers=[party(1), party(2, "Second", ref=None)])
    assert poorer(estimated_picked_up_in_full_date="2019-12-23T04:00:00.000Z")  # the offset of the place is lost
    assert is_less_complete(json.dumps(entry()), json.dumps(OWN))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "A, B", "B, A", "2026-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "x", "y"]), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from(["id", "x", "y", "z"]), VALUES, max_size=4)


@given(OBJECTS, OBJECTS, st.booleans())
def test_reading_an_entry_again_changes_nothing_more(stored, found, is_newer):
    once = result(stored, found, is_newer=is_newer)
    assert result(once, found, is_newer=is_newer) == once
    assert once.keys() == stored.keys() | found.keys()
    assert result(stored, stored, is_newer=is_newer) == stored
    if not is_newer:
        assert all(once[name] not in (None, "", [], {}) for name, value in stored.items() if value)


@pytest.mark.parametrize("order", list(itertools.permutations(["entry", "own", "event", "late entry"])))
def test_in_every_order_of_arrival_nothing_is_lost_at_the_same_time(tmp_path, order):
    """What was requested earlier and comes late changes nothing; what was skipped is fetched again."""
    one = Mirror(tmp_path / "one.db")
    for name in order:
        if name == "event":
            one.receive(event(OWN))
        else:
            at = {"entry": 0, "own": 10, "late entry": 20}[name]
            one.answer(OWN if name == "own" else entry(), at, name="shipments", is_list=name != "own")
    details = one.tx.shipment_details.by_ids([KEY])[KEY]
    if details.pending:
        one.answer(OWN, 30, name="shipments", is_list=False)
    before = one.raw.execute("SELECT count(*) FROM changes").fetchone()
    one.answer(entry(), 40, name="shipments", is_list=True)
    assert one.raw.execute("SELECT count(*) FROM changes").fetchone() == before
    assert one.one()["raw"] == OWN
    assert one.tx.shipment_details.by_ids([KEY])[KEY].pending == 0
    one.close()


def test_comparisons_decide_whether_list_entries_are_complete_and_a_difference_revokes_it(tmp_path):
    one = Mirror(tmp_path / "one.db")
    for number in range(SAMPLE):
        found = OWN | {"id": number}
        assert not one.tx.shipment_details.richness().is_rich
        one.answer(found | {"sellers": list(reversed(found["sellers"]))}, 0, name="shipments", is_list=True)
        one.answer(found, 10, name="shipments", is_list=False)
    assert one.tx.shipment_details.richness().is_rich
    one.answer(OWN | {"id": 1000}, 20, name="shipments", is_list=True)
    assert one.tx.shipment_details.due("9999", 10) == []
    newer = {"id": 1, "updated_at": "2026-03-20T00:00:00.000Z"}
    one.answer(OWN | newer | {"metadata": {}}, 10**7, name="shipments", is_list=True)
    assert one.tx.shipment_details.due("9999", 10) == [1]
    one.answer(OWN | newer, 10**7 + 10, name="shipments", is_list=False)
    richness = one.tx.shipment_details.richness()
    assert (richness.is_rich, richness.consecutive_matches, richness.mismatches) == (False, 0, 1)
    assert one.tx.shipment_details.due("9999", 10) == [1000]
    one.close()


def test_metadata_that_is_really_gone_is_no_reason_to_fetch_all_again(tmp_path):
    one = Mirror(tmp_path / "one.db")
    one.answer(OWN, 0, name="shipments", is_list=True)
    one.answer(OWN, 10, name="shipments", is_list=False)
    newer = OWN | {"updated_at": "2026-03-20T00:00:00.000Z", "metadata": {}}
    one.answer(newer, 10**7, name="shipments", is_list=True)
    assert json.loads(one.one()["metadata"]) == OWN["metadata"]
    one.answer(newer, 10**7 + 10, name="shipments", is_list=False)
    assert one.one()["metadata"] is None
    assert one.tx.shipment_details.richness().mismatches == 0
    one.close()
