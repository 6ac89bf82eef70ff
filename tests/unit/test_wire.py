"""Wire models: tolerant, lossless, and equal to what Flexport really sends."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.resources.registry import Registry
from flexportd.errors import MalformedError
from flexportd.flexport.milestones import BY_NAME, CATALOGUE, milestone, title
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.containers import Container, ContainerLeg
from flexportd.flexport.models.legs import Leg
from flexportd.flexport.models.shipments import Shipment
from flexportd.flexport.webhook_signature import Verifier, sign, sign_sha1
from flexportd.sandbox import World, WorldPlan
from tests.events import container, leg, shipment
from tests.under_test import signature_problem

SHARED = Path(__file__).parents[2].parent / "shared"
RECORDED = {
    "shipments": Shipment,
    "shipment_legs": Leg,
    "ocean_shipment_containers": Container,
    "ocean_shipment_container_legs": ContainerLeg,
}


def recorded(name):
    file = SHARED / "recorded" / f"{name}.json"
    if not file.exists():
        pytest.skip("the recorded answers are not beside this checkout")
    for answer in json.loads(file.read_text()).values():
        data = answer["data"]
        yield from data["data"] if isinstance(data.get("data"), list) else [data]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_answers_load_without_loss(name):
    domains = {domain.wire: domain for domain in Registry()}
    model = RECORDED[name]
    count = 0
    for value in recorded(name):
        loaded, problems = model.load(json.dumps(value).encode())
        assert problems == []
        assert loaded.raw() == value
        assert loaded.key == value["id"]
        fields = domains[model].normalise(loaded)
        assert set(fields) | set(domains[model].derived) == set(domains[model].table.names)
        count += 1
    assert count


@pytest.mark.parametrize(("model", "sample"), [(Shipment, shipment()), (Leg, leg()), (Container, container())])
def test_unknown_fields_are_kept(model, sample):
    value = {**sample, "brand_new": {"deep": [1, "x", None]}, "status": "never_heard_of"}
    assert model.load(json.dumps(value).encode())[0].raw() == value


WORDS = st.sampled_from(["id", "value", "unit", "name", "sku", "tags", "place", "product", "is_lcl", "link"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(shipment())).filter(lambda name: name != "id"), JSON)
def test_a_field_of_any_other_type_never_refuses_the_whole_object(name, value):
    sample = {**shipment(), name: value}
    loaded, _ = Shipment.load(json.dumps(sample).encode())
    assert loaded.key == 910_233
    domain = Registry()["shipments"]
    domain.normalise(loaded)


def understood(domain, load, text):
    """What is made of an object: its key, its own time, our fields, what was set aside; or why it is refused."""
    try:
        model, problems = load(domain.wire, text)
    except MalformedError as error:
        return str(error)
    return model.key, domain.timestamp(model), domain.normalise(model), problems


def as_the_model(wire, text):
    return wire.load(text)


def test_plain_forms_tell_what_the_models_tell():
    world = World(WorldPlan(start=datetime(2026, 3, 1, tzinfo=UTC), seed=5, shipments=40)).export()
    for domain in Registry():
        for value in world.get(domain.object_name, {}).values():
            text = json.dumps(value).encode()
            assert understood(domain, fast_models.load_fast, text) == understood(domain, as_the_model, text)


@pytest.mark.parametrize("domain", [domain for domain in Registry() if domain.name in ("shipments", "legs")])
def test_what_comes_as_documented_needs_no_model(domain, monkeypatch):
    sample = json.dumps({"shipments": shipment, "legs": leg}[domain.name]()).encode()
    expected = understood(domain, as_the_model, sample)
    understood(domain, fast_models.load_fast, sample)  # the plain form is made once, and looks at the model's `load`
    monkeypatch.setattr(domain.wire, "load", None)
    assert understood(domain, fast_models.load_fast, sample) == expected


ODD = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)


@given(
    st.sampled_from(
        [
            (domain, sample, name)
            for domain in Registry()
            if (sample := {"shipments": shipment, "legs": leg, "containers": container}.get(domain.name))
            for name in domain.wire.model_fields
            if name != "object_name"
        ]
    ),
    st.recursive(ODD, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=3)),
)
def test_plain_forms_leave_to_the_models_whatever_is_not_as_documented(where, value):
    domain, sample, name = where
    text = json.dumps({**sample(), name: value}).encode()
    assert understood(domain, fast_models.load_fast, text) == understood(domain, as_the_model, text)


@pytest.mark.parametrize("number", [None, "abc", 1.5, True, [1], {}, -1, 2**63, ""])
def test_an_object_without_a_usable_id_is_refused(number):
    with pytest.raises(MalformedError, match="id"):
        Shipment.load(json.dumps({**shipment(), "id": number}).encode())


def test_an_id_quoted_as_text_is_the_same_id():
    assert Shipment.load(b'{"_object": "/shipment", "id": "910233"}')[0].key == 910_233


def test_every_published_milestone_is_in_the_catalogue():
    file = SHARED / "flexport-api.json"
    if not file.exists():
        pytest.skip("the API description is not beside this checkout")
    types = {entry["type"]: entry for entry in json.loads(file.read_text())["event_types"]}
    assert {one.type for one in CATALOGUE} == set(types)
    for one in CATALOGUE:
        assert one.published == types[one.type]["verified"]
        assert one.upon_request == bool(types[one.type].get("upon_request"))
        assert one.deprecated == bool(types[one.type].get("deprecated"))


def test_milestones_are_found_by_name_whatever_the_prefix():
    assert milestone("/any/prefix#departed").title == "Actual Time of Departure (ATD)"
    assert (
        milestone("/shipment_container_leg#delivery_appointment_scheduled") is BY_NAME["delivery_appointment_scheduled"]
    )
    assert milestone("/shipment#never_heard_of") is None
    assert title("/shipment#never_heard_of") == "Never heard of"


@given(st.binary(max_size=200), st.text("abcdefgh0123456789-_", min_size=16, max_size=40))
def test_what_is_signed_verifies_and_nothing_else_does(body, secret):
    verifier = Verifier(["another-secret-0000", secret])
    assert signature_problem(verifier, body, {"X-Hub-Signature-256": sign(body, secret)}) is None
    assert signature_problem(verifier, body + b"x", {"X-Hub-Signature-256": sign(body, secret)}) == "mismatch"
    assert signature_problem(verifier, body, {"X-Hub-Signature": sign_sha1(body, secret)}) == "sha1_only"
    assert (
        signature_problem(Verifier([secret], allow_sha1=True), body, {"X-Hub-Signature": sign_sha1(body, secret)})
        is None
    )
    assert signature_problem(Verifier([]), body, {"X-Hub-Signature-256": sign(body, secret)}) == "mismatch"
