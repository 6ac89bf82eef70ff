"""Writes to Flexport from a browser, with JavaScript and without: create, amend, approve, resolve."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import expect

from flexportd.sandbox.catalog.kinds import BOOKING, PRODUCT
from tests import write_bodies as bodies
from tests.browser.conftest import world
from tests.under_test import look_again

SCRIPT = pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without"])
ANA = {"X-Flexportd-By": "ana@erp"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def writable():
    """A world whose bookings and products may be written; products need an approval."""
    with TemporaryDirectory(prefix="fxd-") as folder:
        settings = {"writes.enabled": True, "writes.approval": ["products"]}
        async with world(Path(folder).resolve(), shipments=12, **settings) as site:
            yield site


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser, script):
    context = await browser.new_context(java_script_enabled=script)
    yield await context.new_page()
    await context.close()


async def create(site, path, body):
    """Create an operation as another person does; its id."""
    async with site.daemon.http.post(f"{site.url}/api/v1{path}", json=body, headers=ANA) as answer:
        assert answer.status == 202, await answer.text()
        return (await answer.json())["id"]


async def in_state(site, number, state):
    """The operation, once it is in this state."""
    async with asyncio.timeout(20):
        while (operation := await site.daemon.get(f"/operations/{number}"))["state"] != state:
            await look_again()
    return operation


def shown_operation(page):
    return page.url.partition("/operations/")[2].partition("?")[0]


@SCRIPT
async def test_a_booking_is_entered_checked_and_sent_once(writable, page, script):
    world_, name = writable.sandbox.world, f"Spring <b>lamps</b> {script}"
    wanted = bodies.booking(world_)
    await page.goto(writable.url + "/operations")
    await page.get_by_role("link", name="New booking").click()
    await page.get_by_role("link", name="Ocean").click()
    field = lambda pointer: page.locator(f"[name='{pointer}']")  # noqa: E731
    await field("/name").fill(name)
    await page.keyboard.press("Enter")  # checks: nothing is sent, what was entered is kept
    await expect(page.get_by_role("alert")).to_contain_text("Cargo ready date: Is required.")
    await expect(page.locator(".has-problem", has_text="Incoterm")).to_contain_text("Is required.")
    await expect(field("/name")).to_have_value(name)
    for pointer in ("shipper_entity_ref", "consignee_entity_ref", "origin_address_ref", "destination_address_ref"):
        await field(f"find:/{pointer}").fill(wanted[pointer])
        await page.locator(f"button[value='search:/{pointer}']").click()
        await field(f"/{pointer}").select_option(wanted[pointer])
    code = wanted["ocean_booking"]["origin_port_loc_code"]
    await field("find:/ocean_booking/origin_port").fill(code)
    await page.keyboard.press("Enter")  # searches
    await field("/ocean_booking/origin_port").select_option(f"loc:{code}")
    await field("/cargo_ready_date").fill("2026-04-01")
    await field("/ocean_booking/incoterm").select_option("FOB")
    await field("/ocean_booking/is_lcl").select_option(label="Full containers (FCL)")
    await field("/ocean_booking/container_counts/forty_ft").fill("1")
    await field("/ocean_booking/wants_pickup_service").select_option("false")
    await field("/wants_export_customs_service").select_option("false")
    await field("/ocean_booking/product_descriptions/0/description").fill("Desk lamps")
    await field("/ocean_booking/product_descriptions/0/hs_code").fill("9405.20")
    await page.get_by_role("button", name="Add product").click()
    await field("/ocean_booking/product_descriptions/1/description").fill("Floor lamps")
    await field("/ocean_booking/product_descriptions/1/hs_code").fill("94052")
    await field("/cargo/weight/value").fill("250.5")
    await field("/cargo/volume/value").fill("3")
    await field("/cargo/shipping_units/0/count").fill("20")
    await field("/cargo/shipping_units/0/unit_type").select_option("carton")
    for danger in ("hazmat", "magnets", "other_dangerous_goods", "li_ion", "non_li_ion_battery"):
        await field(f"/cargo/contains_{danger}").select_option("false")
    await field("/metadata").fill("PO #: 4711\nPO #: 4712")
    for pointer in ("shipper_entity_ref", "consignee_entity_ref", "origin_address_ref", "destination_address_ref"):
        await field(f"find:/{pointer}").fill("")
    await page.get_by_role("button", name="Check", exact=True).last.click()
    preview = page.get_by_role("region", name="Nothing was sent yet")
    await expect(preview).to_contain_text("POST /bookings")
    assert name not in [one["name"] for one in world_.collections[BOOKING].rows()]
    await preview.get_by_role("button", name="Send to Flexport").click(click_count=2, delay=60)
    await expect(page.locator("h1")).to_contain_text(f"Create booking {name}")
    number = shown_operation(page)
    operation = await in_state(writable, number, "confirmed")
    assert operation["body"]["ocean_booking"]["product_descriptions"] == [
        {"description": "Desk lamps", "hs_code": "9405.20"},
        {"description": "Floor lamps", "hs_code": "94052"},
    ]
    assert operation["body"]["metadata"] == {"PO #": ["4711", "4712"]}
    assert operation["body"]["cargo"]["weight"] == {"value": 250.5, "unit": "kg"}
    made = [one for one in world_.collections[BOOKING].rows() if one["name"] == name]
    assert [str(one["id"]) for one in made] == [operation["resource_id"]]


@SCRIPT
async def test_an_amendment_shows_the_difference_and_sends_it_alone(writable, page, script):
    number = await create(writable, "/bookings", bodies.booking(writable.sandbox.world, name=f"Before {script}"))
    key = (await in_state(writable, number, "confirmed"))["resource_id"]
    await page.goto(f"{writable.url}/bookings/{key}")
    await page.get_by_role("link", name="Amend").click()
    await expect(page.get_by_label("Name").first).to_have_value(f"Before {script}")
    await page.locator("[name='/new_name']").fill(f"After {script}")
    await page.locator("[name='/new_cargo/shipping_units/0/count']").fill("25")
    await page.get_by_role("button", name="Check", exact=True).last.click()
    preview = page.get_by_role("region", name="Nothing was sent yet")
    changes = preview.locator(".change")
    await expect(changes).to_have_count(2)
    await expect(changes.first).to_contain_text(f"Before {script} → After {script}")
    await expect(changes.last).to_contain_text("20 → 25")
    await page.locator("[name='/new_cargo/shipping_units/0/count']").fill("26")
    await preview.get_by_role("button", name="Send to Flexport").click()
    await expect(page.get_by_role("status")).to_contain_text("changed since they were checked")
    await page.get_by_role("button", name="Send to Flexport").click()
    await expect(page.locator("h1")).to_contain_text(f"Amend booking {key}")
    operation = await in_state(writable, shown_operation(page), "confirmed")
    assert set(operation["body"]) == {"new_name", "new_cargo"}
    assert operation["body"]["new_cargo"]["shipping_units"][0]["count"] == 26


@SCRIPT
async def test_an_operation_of_another_person_is_approved(writable, page, script):
    sku = f"LAMP-{script}"
    number = await create(writable, "/products", bodies.product(None, sku=sku))
    await page.goto(f"{writable.url}/operations?state=awaiting_approval")
    await page.get_by_role("link", name=f"Create product {sku}").click()
    await expect(page.locator(".next-step")).to_contain_text("Nothing is sent until a person other than ana@erp")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator(".notice[role=status]")).to_contain_text("The operation is approved")
    await in_state(writable, number, "confirmed")
    assert sum(one["sku"] == sku for one in writable.sandbox.world.collections[PRODUCT].rows()) == 1
    await page.goto(f"{writable.url}/audit?subject=operation+{number}")
    await expect(page.locator(".causes li")).to_have_count(2)
    await expect(page.locator(".causes li").first).to_contain_text("Approved")


@SCRIPT
async def test_an_unknown_operation_is_resolved(writable, page, script):
    """Sent again, confirmed as an object, and given up."""
    sandbox = writable.sandbox
    numbers = []
    for name in ("again", "exists", "useless"):
        sandbox.fault("dropped_before_accepting", "^/bookings", method="POST")
        body = bodies.booking(sandbox.world, name=f"Lost {name} {script}")
        numbers.append(await create(writable, "/bookings", body))
        await in_state(writable, numbers[-1], "unknown")
    again, exists, useless = numbers
    forms = {"resend": again, "confirm": exists, "cancel": useless}
    claimed = {one["resource_id"] for one in (await writable.daemon.get("/operations?limit=100"))["data"]}
    existing = next(key for key in sandbox.world.rows(BOOKING) if key not in claimed)  # of no other operation
    for action, number in forms.items():
        await page.goto(f"{writable.url}/operations/{number}")
        await expect(page.locator("#attempt-1")).to_contain_text("No answer: the outcome is unknown")
        form = page.locator("form", has=page.locator(f"input[name=action][value='{action}']"))
        if action == "confirm":
            await form.get_by_label("ID at Flexport").fill(existing)
        await form.get_by_label("Reason").fill("Ana <ana@example.com> asked Flexport")
        await form.get_by_role("button").click()
        await expect(page.locator(".notice[role=status]")).to_contain_text("Your decision is stored")
    assert (await in_state(writable, again, "confirmed"))["sends"] == 2
    assert (await in_state(writable, exists, "confirmed"))["resource_id"] == existing
    assert (await in_state(writable, useless, "cancelled"))["reason"] == "Ana <ana@example.com> asked Flexport"
    made = [one["name"] for one in sandbox.world.collections[BOOKING].rows() if str(one["name"]).startswith("Lost")]
    assert made.count(f"Lost again {script}") == 1
    assert f"Lost useless {script}" not in made
