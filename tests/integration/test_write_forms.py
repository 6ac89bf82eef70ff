"""The forms for writes as a browser without scripts uses them: problems at their fields, rows, searches, permissions."""

import html
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from flexportd.expose.security import csrf
from flexportd.sandbox.catalog.kinds import BOOKING, LOCATION, PRODUCT, SHIPMENT
from flexportd.storage.repositories.operations import NewOperation
from tests import write_bodies as bodies
from tests.integration.test_forms import CHROMIUM, browser
from tests.integration.test_middleware import new_key
from tests.integration.test_operations_api import writes, writing  # noqa: F401 (a fixture)
from tests.small_flexport import synced

HOSTILE = "<script>alert('x')</script>\"&<b>"


class FormFields(HTMLParser):
    """The fields of the write form as a browser would send them, the text of the page, and the problems at fields."""

    def __init__(self, text):
        super().__init__()
        self.fields, self.buttons, self.problems, self.words, self.tags = [], [], {}, [], []
        self._select = self._area = self._problem = None
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        name = found.get("name")
        if tag == "form":
            self._inside = found.get("class") == "write-form"
            self.action = found["action"] if self._inside else None
        elif found.get("class") == "field-problem" and "id" in found:
            self._problem = found["id"].removeprefix("field").removesuffix("-problem").replace("-", "/")
        elif not self._inside:
            return
        elif tag == "button":
            self.buttons.append(found["value"])
        elif tag == "select":
            self._select = name
            self.fields.append([name, None])
        elif tag == "option" and (self.fields[-1][1] is None or "selected" in found):
            self.fields[-1][1] = found["value"]
        elif tag == "textarea":
            self._area = [name, ""]
            self.fields.append(self._area)
        elif tag == "input" and (found.get("type") != "checkbox" or "checked" in found):
            self.fields.append([name, found.get("value", "")])

    def handle_endtag(self, tag):
        if tag == "textarea":
            self._area[1] = self._area[1].removeprefix("\n")
            self._area = None
        elif tag == "p":
            self._problem = None
        elif tag == "form":
            self._inside = False

    def handle_data(self, data):
        self.words.append(data)
        if self._area is not None:
            self._area[1] += data
        if self._problem is not None and data.strip():
            self.problems[self._problem] = data

    def value(self, name):
        return next((value for one, value in self.fields if one == name), None)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


class Person:
    """Somebody at a form."""

    def __init__(self, browser_, url):
        self._browser, self._url = browser_, url
        self.form, self.location, self.text = None, None, ""

    async def open(self, path):
        _, self.text = await self._browser.page(path)
        self.form = FormFields(self.text)
        return self.form

    async def press(self, button, status=200, **values):
        """Fill in fields (by name, with `_` for the first `/`) and press a button."""
        wanted = {name.replace("__", "/"): value for name, value in values.items()}
        fields = [(name, wanted.pop(name, value)) for name, value in self.form.fields]
        fields += wanted.items()
        return await self.send(self.form.action, [*fields, ("do", button)], status)

    async def send(self, path, fields, status=200):
        self.sent = fields
        answer, self.text = await self._browser.press(path, fields=urlencode(fields), Origin=self._url)
        assert answer.status == status, self.text
        self.location = answer.headers.get("Location")
        if status != 303:
            self.form = FormFields(self.text)
        return self.form


@asynccontextmanager
async def person_at(daemon, key=None):
    async with browser(daemon, key) as one:
        yield Person(one, daemon.url)


@pytest.fixture
async def person(writes):  # noqa: F811
    async with person_at(writes.daemon) as one:
        yield one


def entered(body, prefix=""):
    """A body as the fields of a form."""
    fields = {}
    for name, value in body.items() if isinstance(body, dict) else enumerate(body):
        pointer = f"{prefix}/{name}"
        if pointer.endswith("_port_loc_code"):
            fields[pointer.removesuffix("_loc_code")] = f"loc:{value}"
        elif isinstance(value, dict | list):
            fields |= entered(value, pointer)
        else:
            fields[pointer] = {True: "true", False: "false"}.get(value, str(value)) if value in (True, False) and (
                isinstance(value, bool)
            ) else str(value)  # fmt: skip
    return fields


async def test_problems_stand_at_their_fields_and_what_was_entered_stays(writes, person):  # noqa: F811
    await person.open("/bookings/new/ocean")
    form = await person.press(
        "check", 400, **{
            "/name": HOSTILE, "/cargo_ready_date": "21.3.2026", "/ocean_booking/container_counts/forty_ft": "two",
            "/shipper_entity_ref": HOSTILE, "/cargo/weight/value": "1,5", "/cargo/contains_li_ion": "true",
            "/ocean_booking/product_descriptions/0/hs_code": "12", "/ocean_booking/origin_port": "loc:nowhere",
            "/cargo/shipping_units/0/unit_type": "pallet", "/special_instructions": f"\n{HOSTILE}",
        }
    )  # fmt: skip
    wrong = {
        "/cargo_ready_date": 'Is "21.3.2026"; a day such as',
        "/ocean_booking/container_counts/forty_ft": 'Is "two"; a whole number',
        "/shipper_entity_ref": "your Flexport data has no such company entity",
        "/consignee_entity_ref": "Is required.",
        "/cargo/weight": 'Is "1,5"; a number greater than 0',
        "/cargo/lithium_batteries_packing_types": "Is required for cargo with lithium-ion batteries",
        "/cargo/contains_hazmat": "Is required.",
        "/ocean_booking/product_descriptions/0/hs_code": "4 to 14 digits",
        "/ocean_booking/product_descriptions/0/description": "Is required",
        "/ocean_booking/origin_port": "a UN/LOCODE such as CNYTN",
        "/cargo/shipping_units/0/atomic_count": "Is required for pallets",
        "/cargo/shipping_units/0/volume": "here or on the whole cargo",
    }
    for pointer, words in wrong.items():
        assert words in form.problems[pointer], pointer
    assert form.value("/name") == HOSTILE
    assert form.value("/cargo/weight/value") == "1,5"
    assert form.value("/cargo_ready_date") == "21.3.2026"
    assert form.value("/shipper_entity_ref") == HOSTILE
    assert "script" not in form.tags[form.tags.index("body") :]
    assert "Nothing was sent." in form.text
    assert "Shipping unit 1: Pieces inside" in form.text  # in the summary
    assert (await writes.daemon.get("/operations"))["data"] == []


async def test_a_booking_is_sent_once_whatever_is_pressed_again(writes, person):  # noqa: F811
    world, name = writes.world, f"Lamps {HOSTILE}"
    await person.open("/bookings/new/air")
    form = await person.press("check", **entered(bodies.air_booking(world, name=name)))
    assert "What is sent to Flexport" in form.text
    assert '"description": "' in html.unescape(person.text)
    assert HOSTILE not in person.text
    await person.press("send", 303)
    first, fields = person.location, person.sent
    assert first.endswith("?done=created")
    for _ in range(2):
        await person.send("/bookings/new/air", fields, 303)
        assert person.location == first
    changed = [(name, "Other lamps" if name == "/name" else value) for name, value in fields]
    form = await person.send("/bookings/new/air", changed)
    assert "This form was sent before" in form.text  # the values differ from the checked ones: nothing is sent
    assert len((await writes.daemon.get("/operations"))["data"]) == 1
    await person.press("send", 303)
    assert person.location != first
    _, page = await person._browser.page(first)
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


async def test_rows_and_searches_need_no_script(writes, person):  # noqa: F811
    place = next(iter(writes.world.collections[LOCATION].rows()))
    await person.open("/bookings/new/ocean")
    row = "/ocean_booking/product_descriptions"
    form = await person.press(f"add:{row}", **{f"{row}/0/description": "Lamps"})
    assert form.value(f"{row}/0/description") == "Lamps"
    assert form.value(f"{row}/1/description") == ""
    form = await person.press(f"add:{row}", **{f"{row}/1/description": "Chairs"})
    form = await person.press(f"remove:{row}/0")
    assert (form.value(f"{row}/0/description"), form.value(f"{row}/1/description")) == ("Chairs", None)
    form = await person.press(f"add:{row}")
    form = await person.press(f"add:{row}")  # also below an empty row
    assert [form.value(f"{row}/{number}/description") for number in range(4)] == ["Chairs", "", "", None]
    form = await person.press(f"remove:{row}/2")
    form = await person.press("search:/origin_address_ref", **{"find:/origin_address_ref": place["name"]})
    assert "The list above shows what matches" in form.text
    form = await person.press("enter", **{"/origin_address_ref": place["ref"]})  # Enter searches, and keeps the choice
    assert form.value("/origin_address_ref") == place["ref"]
    form = await person.press("search:/origin_address_ref", **{"find:/origin_address_ref": "no % such _ place"})
    assert "no % such _ place (as typed)" in form.text
    assert "Nothing matches." in form.text
    assert form.value("/origin_address_ref") == place["ref"]
    # Another mode keeps what both have.
    fields = [(name, value) for name, value in form.fields if value]
    form = await person.send("/bookings/new/air", [*fields, ("do", "show")])
    assert form.value("/air_booking/product_descriptions/0/description") == "Chairs"
    assert form.value("mode") == "air"


async def test_a_copy_is_filled_in_and_a_missing_booking_is_not(writes, person):  # noqa: F811
    booking = next(row for row in writes.world.collections[BOOKING].rows() if row["ocean_booking"])
    form = await person.open(f"/bookings/new?copy={booking['id']}")
    assert form.action == "/bookings/new/ocean"
    assert form.value("/name") == booking["name"].strip()
    assert form.value("/cargo_ready_date") == ""
    assert form.value("/shipper_entity_ref") == booking["shipper_entity"]["ref"]
    async with writes.daemon.http.get(writes.daemon.url + "/bookings/new?copy=99", headers=CHROMIUM) as answer:
        assert answer.status == 404


async def test_a_unit_or_packing_that_is_not_documented_is_not_changed_by_the_form(writes, person):  # noqa: F811
    booking = next(row for row in writes.world.collections[BOOKING].rows() if row["ocean_booking"])
    weight = {"_object": "/quantity/weight", "value": "5.5", "unit": "t"}
    danger = {"contains_non_li_ion_battery": False, "lithium_batteries_packing_types": ["packed_anew"]}
    writes.sandbox.put({**booking, "cargo": {**booking["cargo"], **danger, "weight": weight}})
    await synced(writes.daemon)
    form = await person.open(f"/bookings/new?copy={booking['id']}")
    assert form.value("/cargo/weight/value") == "5.5"
    assert form.value("/cargo/weight/unit") == "t"
    assert form.value("/cargo/lithium_batteries_packing_types") == "packed_anew"
    form = await person.press("check", 400, **{"/name": "Copy"})
    assert 'Is "t"; allowed are kg, lbs.' in form.problems["/cargo/weight"]
    await person.open(f"/bookings/{booking['id']}/amend")
    form = await person.press("check", **{"/new_name": "Other name"})
    assert "new_cargo" not in form.text


async def test_metadata_with_colons_and_line_breaks_are_not_changed_by_the_form(writes, person):  # noqa: F811
    booking = next(row for row in writes.world.collections[BOOKING].rows() if row["ocean_booking"])
    metadata = {
        "PO: number": ["4711", "x: y"],
        "notes": ["first\nsecond", "a\u2028b", 'so "called"', '"quoted"'],
        "plain": ["1"],
    }
    writes.sandbox.put({**booking, "metadata": metadata})
    await synced(writes.daemon)
    form = await person.open(f"/bookings/{booking['id']}/amend")
    lines = form.value("/new_metadata").splitlines()
    assert lines == [
        '"PO: number": 4711', '"PO: number": x: y', 'notes: "first\\nsecond"', 'notes: "a\\u2028b"',
        'notes: so "called"',
        'notes: "\\"quoted\\""', "plain: 1",
    ]  # fmt: skip
    await person.press("check", **{"/new_metadata": "\r\n".join([*lines, 'odd: "half'])})
    await person.press("send", 303)
    number = person.location.rpartition("/")[2].partition("?")[0]
    sent = (await writes.daemon.get(f"/operations/{number}"))["body"]
    assert sent == {"new_metadata": metadata | {"odd": ['"half']}}


async def test_rows_that_a_form_does_not_show_are_not_lost(writes, person):  # noqa: F811
    booking = next(row for row in writes.world.collections[BOOKING].rows() if row["ocean_booking"])
    units = [{"_object": "/shipping_unit", "count": number, "unit_type": "carton"} for number in range(1, 61)]
    dangers = {name: False for name in booking["cargo"] if name.startswith("contains_")}
    cargo = {**booking["cargo"], **dangers, "contains_non_li_ion_battery": False, "shipping_units": units}
    writes.sandbox.put({**booking, "cargo": cargo})
    await synced(writes.daemon)
    form = await person.open(f"/bookings/new?copy={booking['id']}")
    assert "more than 50 shipping units, which are not copied here: use `flexportd bookings copy`" in form.text
    assert form.value("/cargo/shipping_units/0/count") == ""
    form = await person.open(f"/bookings/{booking['id']}/amend")
    assert "more than 50 shipping units, which this form does not show and cannot change" in form.text
    form = await person.press("check", **{"/new_name": "Other name"})
    assert "new_cargo" not in form.text
    marks = {"/new_cargo/marks_and_numbers": "abc"}
    form = await person.press("check", 400, **marks)
    assert "Shipping units: Is required" in form.text
    unit = {"/new_cargo/shipping_units/0/count": "3", "/new_cargo/shipping_units/0/unit_type": "carton"}
    form = await person.press("check", 400, **marks, **unit)
    assert "Shipping units: Has more than 50 rows, which this form cannot change" in form.text

    product = next(row for row in writes.world.collections[PRODUCT].rows() if row["archived_at"] is None)
    properties = [{"type": f"type {number}", "value": "x"} for number in range(51)]
    writes.sandbox.put({**product, "product_properties": properties})
    await synced(writes.daemon)
    form = await person.open(f"/products/{product['id']}/edit")
    assert form.value("/product_properties/0/type") == ""
    form = await person.press("check", **{"/name": "New name"})
    assert "product_properties" not in form.text
    new = {"/product_properties/0/type": "colour", "/product_properties/0/value": "red"}
    form = await person.press("check", 400, **new)
    assert "Properties: Has more than 50 rows" in form.text


async def test_only_what_a_person_changes_is_sent(writes, person):  # noqa: F811
    product = next(row for row in writes.world.collections[PRODUCT].rows() if row["archived_at"] is None)
    path = f"/products/{product['id']}/edit"
    form = await person.open(path)
    form = await person.press("check", 400)
    assert "One problem. Nothing was sent. Nothing was changed." in form.text
    form = await person.press("check", 400, **{"/name": ""})
    assert "a change cannot remove it" in form.problems["/name"]
    form = await person.press(
        "check", **{"/name": "New name", "/description": "", "/classifications/0/codes": "9405.20"}
    )
    assert f"{product['name']} → New name" in form.text
    await person.press("send", 303)
    number = person.location.rpartition("/")[2].partition("?")[0]
    sent = (await writes.daemon.get(f"/operations/{number}"))["body"]
    assert sent.keys() == {"name", "description", "classifications"}
    assert (sent["description"], sent["classifications"][0]["codes"]) == ("", ["9405.20"])
    await person.open("/products/new")
    form = await person.press("check", 400, **{"/sku": product["sku"], "/name": "Twin"})
    assert "has it already" in form.problems["/sku"]


async def test_an_amendment_without_a_change_is_not_sent(writes, person):  # noqa: F811
    booking = next(iter(writes.world.collections[BOOKING].rows()))
    await person.open(f"/bookings/{booking['id']}/amend")
    form = await person.press("check", 400)
    assert "Nothing was changed." in form.text
    assert "new_cargo_ready_date" not in form.text


async def test_metadata_of_a_shipment_are_set_and_removed_by_key(writes, person):  # noqa: F811
    shipment = next(row for row in writes.world.collections[SHIPMENT].rows() if row["metadata"])
    old, path = shipment["metadata"], f"/shipments/{shipment['id']}"
    assert f'href="{path}/metadata"' in (await person._browser.page(path))[1]
    await person.open(f"{path}/metadata")
    form = await person.press("check", 400)
    assert "Nothing was changed." in form.text
    gone = next(iter(old))
    rows = len(old)
    await person.press("add:/metadata", **{"/metadata/0/values": ""})
    form = await person.press("check", **{f"/metadata/{rows}/key": "Team/EU", f"/metadata/{rows}/values": "A\nB"})
    assert "Team/EU not set → A, B" in form.text
    await person.press("send", 303)
    number = person.location.rpartition("/")[2].partition("?")[0]
    assert (await writes.daemon.get(f"/operations/{number}"))["body"] == {
        "metadata": {"Team/EU": ["A", "B"], gone: None}
    }


async def test_malformed_forms_are_refused(writes, person):  # noqa: F811
    await person.open("/products/new")
    for fields in (
        [("do", "check")],
        [("do", "check"), ("key", "x" * 50)],
        [("do", "check"), ("key", "a\nb")],
        [(f"/suppliers/{number}/ref", "x") for number in range(csrf.MAX_FIELDS + 1)],
    ):
        await person.send("/products/new", fields, 400)
        assert "Traceback" not in person.text
    await person.send("/products/1/edit", [("do", "check"), ("key", "k"), ("base", "[1")], 404)
    key = next(iter(writes.world.collections[PRODUCT].rows()))["id"]
    await person.send(f"/products/{key}/edit", [("do", "check"), ("key", "k"), ("base", "[1")], 400)
    await person.send("/bookings/new/rocket", [("do", "check"), ("key", "k")], 404)
    assert (await writes.daemon.get("/operations"))["data"] == []


async def test_forms_are_for_keys_that_may_write_and_decisions_for_admins(tmp_path):
    async with writing(tmp_path, **{"writes.approval": ["products"]}) as opened_:
        daemon = opened_.daemon
        keys = {scope: await new_key(daemon, name=scope, scope=scope) for scope in ("read", "write", "admin")}
        auth = {"Authorization": f"Bearer {keys['write']}"}
        body = bodies.product(None)
        async with daemon.http.post(daemon.url + "/api/v1/products", json=body, headers=auth) as answer:
            assert answer.status == 202, await answer.text()
        shown = {"read": set(), "write": {"cancel"}, "admin": {"approve", "cancel"}}
        for scope, actions in shown.items():
            async with browser(daemon, keys[scope]) as one:
                _, text = await one.page("/operations/1")
                assert {
                    name for name in ("approve", "cancel", "retry") if f'action="/operations/1/{name}"' in text
                } == actions
                _, text = await one.page("/operations")
                assert ("New booking" in text) == (scope != "read")
                key = next(iter(opened_.world.collections[BOOKING].rows()))["id"]
                _, text = await one.page(f"/bookings/{key}")  # a cached page
                assert ("/amend" in text) == (scope != "read")
                for path, allowed in (
                    ("/bookings/new/ocean", scope != "read"),
                    ("/bookings/new", scope != "read"),
                    (f"/bookings/{key}/amend", scope != "read"),
                    ("/audit", scope == "admin"),
                ):
                    async with one._http.get(daemon.url + path, headers=CHROMIUM) as answer:
                        assert answer.status == (200 if allowed else 403), (scope, path)
                answer, _ = await one.press("/bookings/new/ocean", fields="do=check&key=k", Origin=daemon.url)
                assert answer.status == (403 if scope == "read" else 400)
                if scope != "admin":
                    answer, _ = await one.press("/operations/1/approve", Origin=daemon.url)
                    assert answer.status == 403
        async with browser(daemon, keys["admin"]) as one:
            answer, _ = await one.press("/operations/1/approve", Origin=daemon.url)
            assert (answer.status, answer.headers["Location"]) == (303, "/operations/1?done=approved")


async def test_a_read_only_installation_has_no_forms_and_says_how_to_enable_them(tmp_path):
    async with writing(tmp_path, **{"writes.enabled": False}) as opened_, browser(opened_.daemon) as one:
        _, text = await one.page("/operations")
        assert "Writes are disabled" in text
        assert "enabled = true" in text
        assert "New booking" not in text
        for path in ("/bookings/new/ocean", "/products/new"):
            async with one._http.get(opened_.daemon.url + path, headers=CHROMIUM) as answer:
                assert (answer.status, "[writes] enabled = true" in await answer.text()) == (403, True)
            answer, _ = await one.press(path, fields="do=send&key=k", Origin=opened_.daemon.url)
            assert answer.status == 403
        number = await opened_.daemon.daemon.db.write(lost)
        async with one._http.get(f"{opened_.daemon.url}/operations/{number}", headers=CHROMIUM) as answer:
            text = await answer.text()
        assert ("Give up" in text, "Confirm" in text, "Send again" in text) == (True, True, False)


async def test_a_decision_that_fails_is_explained_on_the_page_and_keeps_what_was_entered(tmp_path):
    async with writing(tmp_path) as opened_, browser(opened_.daemon) as one:
        daemon = opened_.daemon
        await daemon.daemon.db.write(lost)
        fields = urlencode({"action": "confirm", "confirmed_as": "999999", "reason": "found <it>"})
        answer, text = await one.press("/operations/1/resolve", fields=fields, Origin=daemon.url)
        assert answer.status == 404
        assert "Flexport has no such object" in text
        assert "<h1>Page not found" not in text
        assert 'value="999999"' in text
        assert text.count('value="found &lt;it&gt;"') == 1  # in the form that was sent
        assert "data-live" not in text  # this address cannot be loaded again
        fields = urlencode({"action": "cancel", "reason": " "})
        answer, text = await one.press("/operations/1/resolve", fields=fields, Origin=daemon.url)
        assert answer.status == 400
        assert 'action="/operations/1/resolve"' in text
        await one.press("/operations/1/resolve", fields="action=cancel&reason=gone", Origin=daemon.url)
        answer, text = await one.press("/operations/1/approve", Origin=daemon.url)
        assert answer.status == 409
        assert '<a href="/operations">Writes</a>' in text
        assert "only one awaiting approval can be approved" in text
        answer, text = await one.press("/operations/99/approve", Origin=daemon.url)
        assert answer.status == 404
        assert "There is no operation 99" in text


def lost(tx):
    """An operation with an unknown outcome, from before writes were disabled; its id."""
    number = tx.operations.add(
        NewOperation(
            key="0" * 16, kind="booking.create", target="x", resource="bookings", resource_id=None, shipment_id=None,
            title="Lost", body="{}", digest="", state="pending", created_by="Ana", creator="key",
        ),
        "2026-03-01T00:00:00Z",
    )  # fmt: skip
    tx.operations.set_state(number, "unknown", "2026-03-01T00:00:00Z", "reset", needs_decision=True)
    return number
