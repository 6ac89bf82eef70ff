"""Flexport's values in words; what nobody knows keeps its own text, made harmless."""

from datetime import date

import pytest

from flexportd.core.resources.shipments import arrival_summary
from flexportd.expose.dashboard.view import labels
from flexportd.expose.dashboard.view.labels import ARRIVED, MODES, STAGES, Badge, Mode, Text

DOCUMENTED = {
    "seller_location", "origin_stop_off", "in_transit_to_departure_port", "departure_port",
    "in_transit_to_intermediary_port", "intermediary_port", "in_transit_to_arrival_port", "arrival_port",
    "deconsolidation", "in_transit_to_final_destination", "destination_stop_off", "gated_out", "final_destination",
}  # fmt: skip


def test_each_of_the_13_statuses_has_one_stage_and_words_of_its_own():
    listed = [name for stage in STAGES for name in stage.statuses]
    assert sorted(listed) == sorted(DOCUMENTED)
    words = {labels.status(name).text for name in DOCUMENTED}
    assert len(words) == 13
    assert all("_" not in word for word in words)
    assert ARRIVED < DOCUMENTED


def test_unknown_values_are_shown_as_they_are_on_neutral_ground():
    assert labels.status("held_by_pirates") == Badge("held_by_pirates", "other")
    assert labels.status(None) == Badge("No status", "other")
    assert labels.mode("zeppelin") == Mode("zeppelin", "box")
    assert labels.mode(None) is None
    assert labels.freight_type_text("door_to_moon") == "door_to_moon"
    assert labels.container_type_text("ten_ft", "see_through") == "ten_ft, see_through"


def test_known_values_have_words():
    assert labels.mode("ocean") == MODES["ocean"]
    assert (
        labels.container_type_text("fourty_ft_hc", "dry")
        == labels.container_type_text("forty_ft_hc", "dry")
        == "40 ft HC, dry"
    )
    assert labels.container_type_text(None, None) is None
    assert labels.freight_type_text("port_to_door") == "Port to door"


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ('{"unit":"kg","value":8200}', "8,200 kg"),
        ('{"unit":"cbm","value":"67.40"}', "67.4 m³"),
        ('{"unit":"lbs","value":0.5}', "0.5 lb"),
        ('{"unit":"stone","value":3}', "3 stone"),
        ('{"unit":null,"value":3}', "3"),
        ('{"unit":"kg","value":"much"}', None),
        ('{"unit":"kg","value":null}', None),
        ('{"unit":"kg","value":[1]}', None),
        ("[1]", None),
        ("{", None),
        (None, None),
    ],
)
def test_quantities_have_separators_and_units(stored, words):
    assert labels.quantity(stored) == words


def test_free_text_is_cut_and_keeps_a_longer_piece_for_the_tooltip():
    found = labels.text("x" * 1_000_000)
    assert len(found.shown) == 80
    assert len(found.whole) == 200
    assert labels.text("PO 4471") == Text("PO 4471")
    assert labels.text("") is None
    assert labels.text(0) == Text("0")


@pytest.mark.parametrize("hostile", ["a\u202eb", "a\x00b", "a\ud800b", "a\u2066b"])
def test_what_could_forge_or_hide_text_is_spelt_out(hostile):
    assert labels.text(hostile).shown.startswith("a\\u")
    assert labels.status(hostile).text.startswith("a\\u")
    labels.text(hostile).shown.encode()


def test_long_lists_tell_how_many_more_there_are():
    stored = str([f"PO-{n}" for n in range(15)]).replace("'", '"')
    found = labels.list_preview(stored)
    assert len(found) == 13
    assert found[-1] == Text("and 3 more")
    assert labels.list_preview(None) == labels.list_preview("{") == labels.list_preview("{}") == ()


def test_a_place_without_a_name_shows_its_code():
    assert labels.place({"origin": None, "origin_code": "CNYTN"}, "origin").name == Text("CNYTN")
    assert labels.place({"origin": None, "origin_code": None}, "origin") is None


def test_lines_of_free_text_are_joined_and_long_words_are_marked():
    shown = labels.text("**Container numbers**\n\nONEU6321046\r\nHLXU8577670\tend")
    assert shown.shown == "**Container numbers** ONEU6321046 HLXU8577670 end"
    assert not shown.has_long_word
    assert labels.text("a \x1b[2J").shown == r"a \u001b[2J"
    assert labels.text("Document rX6Tl846bo7WGEzivSx8fw").has_long_word


def test_a_journey_names_each_date_with_its_own_place():
    fields = {f"{kind}_{name}": None for kind in ("estimated", "actual")
              for name in ("arrival", "ramp_arrival", "delivered_in_full")}  # fmt: skip
    fields |= {"port_of_unloading": "Savannah, GA", "inland_ramp": None, "destination": "Memphis"}
    today = date(2026, 11, 1)
    assert arrival_summary(fields, today) == ""
    fields |= {"estimated_arrival": "2026-11-17T00:00:00-05:00",
               "estimated_delivered_in_full": "2026-11-27T12:00:00-06:00"}  # fmt: skip
    by_road = fields | {"port_of_unloading": None}
    assert arrival_summary(by_road, today) == "Delivery Memphis 27 Nov"
    assert arrival_summary(by_road | {"estimated_delivered_in_full": None}, today) == "Arrives 17 Nov"
    assert arrival_summary(fields, today) == "Arrives Savannah, GA 17 Nov · delivery Memphis 27 Nov"
    fields |= {"actual_arrival": "2026-11-18T09:30:00-05:00", "inland_ramp": "Atlanta",
               "estimated_ramp_arrival": "2026-11-20T12:00:00-05:00", "estimated_delivered_in_full": "2099-01-01T00:00:00-06:00"}  # fmt: skip
    assert arrival_summary(fields, today) == "Arrived Savannah, GA 18 Nov · arrives Atlanta 20 Nov"
