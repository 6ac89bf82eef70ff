"""Buttons of the dashboard as browsers press them: what they say of themselves, tokens of forms, refusals as pages."""

import base64
import re
from contextlib import asynccontextmanager

import aiohttp

from flexportd.expose.dashboard import render
from flexportd.expose.security import csrf
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_exceptions import standing
from tests.integration.test_middleware import new_key
from tests.under_test import start

# As Chromium 156 sends them with the form of a page.
CHROMIUM = {
    "Cache-Control": "max-age=0",
    "Upgrade-Insecure-Requests": "1",
    "Content-Type": "application/x-www-form-urlencoded",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
}
# Safari before 16.4, and every browser by a name without TLS: nothing says where the form comes from but Origin.
WITHOUT_SITE = {name: value for name, value in CHROMIUM.items() if not name.startswith("Sec-")}
TOKEN = re.compile(r'<form [^>]*method="post"[^>]*><input type="hidden" name="form_token" value="([^"]+)">')


@asynccontextmanager
async def browser(daemon, key=None):
    """Signed in with this key, as the password of HTTP Basic."""
    auth = None if key is None else {"Authorization": "Basic " + base64.b64encode(f"x:{key}".encode()).decode()}
    async with aiohttp.ClientSession(headers=auth) as http:
        yield Browser(daemon.url, http)


class Browser:
    def __init__(self, url, http):
        self.url, self._http = url, http

    async def page(self, path="/queue"):
        async with self._http.get(self.url + path, headers={"Accept": CHROMIUM["Accept"]}) as answer:
            assert answer.status == 200, await answer.text()
            return answer.headers, await answer.text()

    async def token(self):
        return TOKEN.search((await self.page())[1])[1]

    async def press(self, path="/queue/pause", *, base=None, fields="", **headers):
        """Status and page after a form was sent, with these headers beside those of Chromium (or of `base`)."""
        sent = (base or CHROMIUM) | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._http.post(self.url + path, data=fields, headers=sent, allow_redirects=False) as answer:
            return answer, await answer.text()


async def test_pages_say_where_their_forms_come_from_and_links_say_nothing(daemon):
    async with browser(daemon) as person:
        for path in ("/", "/shipments", "/queue", "/sync", "/system", "/api/v1/docs"):
            assert (await person.page(path))[0]["Referrer-Policy"] == "same-origin", path
    for path in ("/s/fxs_x", "/calendar.ics?token=x", "/api/v1/queue", "/static/flexportd.css"):
        async with daemon.http.get(daemon.url + path, headers={"Accept": "text/html"}) as answer:
            assert answer.headers.getall("Referrer-Policy") == ["no-referrer"], path


async def test_a_button_works_in_chromium(daemon):
    """`null` is what a page sends that was loaded before an update; a proxy may have rewritten Host."""
    async with browser(daemon) as person:
        for origin in ("null", daemon.url, "https://freight.example.com"):
            answer, _ = await person.press(Origin=origin, Referer=f"{daemon.url}/queue")
            assert (answer.status, answer.headers["Location"]) == (303, "/queue?done=paused")
            assert daemon.daemon.queue.paused
            await person.press("/queue/resume", Origin=origin)
            assert not daemon.daemon.queue.paused


async def test_where_the_browser_does_not_say_so_the_token_decides_also_after_a_restart(tmp_path, clock):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon, browser(daemon) as person:
        token = await person.token()
        assert await person.token() == token  # a live page does not change by it
        for headers in ({"Origin": "null"}, {}):
            answer, text = await person.press(base=WITHOUT_SITE, **headers)
            assert (answer.status, answer.content_type) == (403, "text/html")
            assert "Load the page again" in text
            answer, _ = await person.press(base=WITHOUT_SITE, fields=f"form_token={token}", **headers)
            assert answer.status == 303
    async with start(settings, clock) as daemon, browser(daemon) as person:
        answer, _ = await person.press(base=WITHOUT_SITE, fields=f"form_token={token}", Origin="null")
        assert answer.status == 303
        clock.turn(days=8)
        answer, text = await person.press(base=WITHOUT_SITE, fields=f"form_token={token}", Origin="null")
        assert (answer.status, "has expired" in text) == (403, True)
        assert await person.token() != token


WRONG = (
    "", "form_token=", "form_token={token}&form_token={token}", "form_token={token}x", "form_token=%C3%A9", "why={token}",
    "form_token=0.{token}", "form_token={token}&" + "&".join(f"f{n}=" for n in range(csrf.MAX_FIELDS)), "form_token=%ff{token}",
)  # fmt: skip


async def test_a_token_that_is_not_right_opens_nothing(daemon):
    async with browser(daemon) as person:
        token = await person.token()
        for fields in WRONG:
            answer, _ = await person.press(base=WITHOUT_SITE, fields=fields.format(token=token), Origin="null")
            assert answer.status == 403, fields
        answer, _ = await person.press(f"/queue/pause?form_token={token}", base=WITHOUT_SITE, Origin="null")
        assert answer.status == 403
        assert not daemon.daemon.queue.paused


async def test_a_form_of_another_type_proves_nothing(daemon):
    async with browser(daemon) as person:
        token = await person.token()
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json"):
            more = {"Content-Type": kind, "Origin": "null"}
            answer, _ = await person.press(base=WITHOUT_SITE | more, fields=f"form_token={token}")
            assert answer.status == 403, kind
        assert not daemon.daemon.queue.paused


async def test_a_token_is_of_use_with_its_own_key_alone(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"api.require_key": True}), clock) as daemon:
        first, second = [await new_key(daemon, name=name, scope="admin") for name in ("first", "second")]
        reader = await new_key(daemon)
        async with browser(daemon, first) as person, browser(daemon, second) as other, browser(daemon, reader) as guest:
            fields = f"form_token={await person.token()}"
            for one, status in ((other, 403), (guest, 403), (person, 303)):
                answer, _ = await one.press(base=WITHOUT_SITE, fields=fields, Origin="null")
                assert answer.status == status
        async with browser(daemon) as nobody:
            answer, _ = await nobody.press(base=WITHOUT_SITE, fields=fields, Origin="null")
            assert (answer.status, answer.content_type) == (401, "text/html")  # the browser asks for the key once more
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_a_field_of_the_form_is_read_beside_its_token(daemon):
    await daemon.post(b"no event at all")
    await daemon.settled()
    async with browser(daemon) as person:
        fields = f"form_token={await person.token()}&why=an+old+test"
        answer, _ = await person.press("/queue/dead-letters/1/discard", base=WITHOUT_SITE, fields=fields, Origin="null")
        assert answer.status == 303
        assert "an old test" in (await person.page("/queue?discarded=true"))[1]


def test_every_form_that_changes_something_carries_the_token_and_no_kept_page_holds_one():
    """A kept page is the same for every caller."""
    environment = render.environment()
    sources = {name: environment.loader.get_source(environment, name)[0] for name in environment.list_templates()}
    for name, source in sources.items():
        forms = re.findall(r'<form\b[^>]*method="post"[^>]*>', source, re.IGNORECASE)
        assert len(forms) == source.count('name="form_token" value="{{ layout.form_token }}"'), name
        assert not forms or name in {
            "deliveries.html", "delivery.html", "exception_page.html", "operation.html", "queue.html", "sync.html", "system.html",
            "write_form.html",
        }, name  # fmt: skip


# --- refusals ---


async def test_a_refusal_is_a_page_that_names_what_to_mend(daemon):
    async with browser(daemon) as person:
        for headers, words in (
            ({"Origin": "https://freight.example.com"}, ("https://freight.example.com", daemon.url, "public_url", "Host")),
            ({"Host": "freight.example.com", "Sec_Fetch_Site": "same-origin"}, ("freight.example.com", "public_url", "Host")),
            ({"Sec_Fetch_Site": "cross-site", "Origin": "null"}, ("another site", "Sec-Fetch-Site", "public_url")),
            ({"Origin": "null"}, ("Origin", "Sec-Fetch-Site", "public_url")),
            ({"Origin": "https://" + "<b>" * 200}, ("&lt;b&gt;", "public_url")),
        ):  # fmt: skip
            answer, text = await person.press(base=WITHOUT_SITE, **headers)
            assert (answer.status, answer.content_type) == (403, "text/html"), headers
            for word in words:
                assert word in text, word
            assert "<b>" not in text
            assert "</html>" in text
    assert not daemon.daemon.queue.paused


async def test_other_failures_of_a_form_are_pages_too_and_programs_get_problem_documents(daemon):
    async with browser(daemon) as person:
        for path, fields, status in (
            ("/queue/dead-letters/7/retry", "", 404), ("/nothing", "", 404), ("/", "", 405),
            ("/queue/dead-letters/7/discard", "why=" + "x" * csrf.MAX_FORM, 413),
        ):  # fmt: skip
            answer, text = await person.press(path, fields=fields, Origin=daemon.url)
            assert (answer.status, answer.content_type, "</html>" in text) == (status, "text/html", True), path
        for path in ("/api/v1/queue/pause", "/webhooks/flexport"):
            answer, _ = await person.press(path, base=WITHOUT_SITE, Origin="https://evil.example")
            assert answer.content_type == "application/problem+json", path
        answer, _ = await person.press("/queue/pause", Accept="*/*", Sec_Fetch_Site="cross-site")
        assert answer.content_type == "application/problem+json"


async def test_reading_by_a_link_of_another_site_changes_nothing(daemon):
    headers = {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}
    for path in ("/queue/pause", "/queue/resume", "/sync/run", "/sync/accept", "/system/jobs/sync/run"):
        async with daemon.http.get(daemon.url + path, headers=headers) as answer:
            assert answer.status in (404, 405), path
    assert not daemon.daemon.queue.paused


async def test_programs_need_no_token(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"api.require_key": True}), clock) as daemon:
        key = await new_key(daemon, scope="admin")
        for path, headers in (
            ("/queue/pause", {"Authorization": f"Bearer {key}"}),
            ("/queue/pause", {"Authorization": f"Bearer {key}", **WITHOUT_SITE, "Origin": "null"}),
            ("/api/v1/queue/pause", {"Authorization": f"Bearer {key}"}),
            ("/api/v1/queue/pause", {"Authorization": "Basic " + base64.b64encode(f":{key}".encode()).decode()}),
        ):
            async with daemon.http.post(daemon.url + path, headers=headers, allow_redirects=False) as answer:
                assert answer.status in (200, 303), path


ACTION = re.compile(r'<form [^>]*method="post" action="([^"]+)"')


async def test_pages_show_only_the_forms_that_the_key_may_use(tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"api.require_key": True})
    async with start(settings, clock) as daemon:
        scopes = ("read", "write", "admin")
        keys = {scope: await new_key(daemon, name=scope, scope=scope) for scope in scopes}
        daemon.http.headers["Authorization"] = f"Bearer {keys['read']}"
        await standing(daemon)
        await daemon.receive(event(shipment(1)))
        await daemon.post(b"no event at all")
        await standing(daemon)
        shown, paths = {}, ("/exceptions/1", "/queue", "/sync", "/system")
        for scope in scopes:
            async with browser(daemon, keys[scope]) as person:
                texts = [(await person.page(path))[1] for path in paths]
                shown[scope] = {action for text in texts for action in ACTION.findall(text)}
        assert shown["read"] == set()
        assert shown["write"] == {f"/exceptions/1/{name}" for name in ("acknowledge", "assign", "snooze", "note")}
        assert shown["admin"] > shown["write"]
        assert {"/queue/pause", "/queue/dead-letters/2/retry", "/system/jobs/retention/run"} <= shown["admin"]


async def test_a_form_that_fails_shows_its_page_again_with_what_was_entered(daemon):
    await standing(daemon)
    await daemon.receive(event(shipment(1)))
    await standing(daemon)
    async with browser(daemon) as person:
        answer, text = await person.press("/exceptions/1/snooze", fields="until=", Origin=daemon.url)
        assert answer.status == 400
        assert "Nothing was snoozed: choose a day" in text
        assert 'action="/exceptions/1/snooze"' in text
        answer, text = await person.press("/exceptions/1/snooze", fields="until=2020-01-01", Origin=daemon.url)
        assert answer.status == 400
        assert 'value="2020-01-01"' in text
        answer, text = await person.press("/exceptions/1/note", fields="text=" + "a" * 600, Origin=daemon.url)
        assert answer.status == 400
        assert 'value="' + "a" * 600 in text


async def test_the_audit_log_names_each_action_and_its_object_once(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path, **{"api.require_key": True}), clock) as daemon:
        async with browser(daemon, await new_key(daemon, scope="admin")) as person:
            words = re.sub(r"<[^>]+>|\s+", " ", (await person.page("/audit"))[1])
        assert re.search(r" Created +key \w", words)
