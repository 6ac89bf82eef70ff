"""Answers of Flexport that repeat our secrets: nothing of them is kept, shown or logged."""

import asyncio
import json

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.errors import EchoedSecretError, FlexportError
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.http.redaction import Secrets
from flexportd.settings import Settings
from tests.flexport_double import FlexportDouble, HurriedClock, answer, envelope, listing
from tests.small_flexport import SmallFlexport, one_of_each
from tests.under_test import SECRET, look_again, start

KEY = "a/key+of=the~account\\here"  # JSON and addresses write each of these in more than one way
HOOK = "hök-secret/0123456789"


@pytest.fixture
async def flexport():
    async with FlexportDouble().running() as double:
        yield double


@pytest.fixture
async def client(flexport):
    rules = ClientRules(flexport.url, requests_per_second=1000, timeout=5.0, patience=0, secrets=(HOOK, KEY))
    async with Client(rules, ApiKeyAuth(KEY), HurriedClock()) as client:
        yield client


def forms(secret):
    escaped = json.dumps(secret)[1:-1]
    return [escaped, escaped.replace("/", "\\/"), json.dumps(secret, ensure_ascii=False)[1:-1]]


@pytest.mark.parametrize("secret", [KEY, HOOK])
@pytest.mark.parametrize("form", [0, 1, 2])
async def test_a_good_answer_is_read_without_the_secrets_in_it(flexport, client, secret, form):
    written = forms(secret)[form]
    row = f'{{"_object": "/shipment", "id": 7, "echo": "Bearer {written}", "{written}": ["{written}!"]}}'
    page = f'{{"_object": "/api/response", "data": {{"_object": "/api/collections/paginated", "data": [{row}], "next": null, "total_count": 1}}}}'
    flexport.script.append(answer(page.encode()))
    (found,) = (await client.page("/shipments", {}, 1, "sync")).rows
    assert json.loads(found) == {"_object": "/shipment", "id": 7, "echo": "Bearer ***", "***": ["***!"]}

    flexport.script.append(answer(f'{{"_object": "/api/response", "data": {row}}}'.encode()))
    assert json.loads((await client.get("/shipments", "7", "refresh")).text)["echo"] == "Bearer ***"


@pytest.mark.parametrize(
    "told",
    [
        answer({"error": {"message": f"no such key: {HOOK}"}}, 404),
        answer({"error": {"message": f"no such key: {HOOK}"}}, 500),
        answer({"errors": [{"message": f"Bearer {KEY}"}]}, 401),
        answer(envelope(None, {"status": 404, "message": f"of {KEY}"})),
        answer(f"{KEY} is no JSON".encode()),
        answer(f"<h1>{HOOK}</h1>".encode(), 200, Content_Type="text/html; charset=utf-8"),
        answer(b"", 302, Location=f"https://x.example/?key={KEY}"),
        answer(b"{}", 400, X_Request_Id=KEY),
        answer(listing([], f"/shipments?page=2&key={KEY}", HOOK)),
    ],
)
async def test_no_error_tells_a_secret(flexport, client, told):
    flexport.usual = told
    try:
        page = await client.page("/shipments", {}, 1, "sync")
    except FlexportError as error:
        whole = repr((str(error), error.response.body, error.response.request_id, client.state()))
    else:
        whole = repr(page)
    for secret in (KEY, HOOK):
        assert not any(
            form in whole or form in whole.encode().decode("unicode_escape") for form in (secret, *forms(secret))
        )


async def test_a_header_that_cannot_be_read_is_not_repeated_in_the_error(client, flexport):
    async def broken(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nBad header Authorization: Bearer {KEY}\x01\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rules = ClientRules(f"http://127.0.0.1:{port}", requests_per_second=1000, timeout=5.0, patience=0)
    async with server, Client(rules, ApiKeyAuth(KEY), HurriedClock()) as other:
        with pytest.raises(FlexportError) as caught:
            await other.page("/shipments", {}, 1, "sync")
        assert KEY not in str(caught.value)
        assert KEY not in repr(other.state())


@pytest.mark.parametrize("cut", [None, 5, 40_000])
async def test_a_file_that_holds_a_secret_is_refused(flexport, client, cut):
    content = b"%PDF" + b"x" * 70_000 + KEY.encode() + b"y" * 70_000
    if cut is None:
        flexport.usual = answer(content, Content_Type="application/pdf")
    else:

        async def in_two(request):
            response = web.StreamResponse(headers={"Content-Type": "application/pdf"})
            await response.prepare(request)
            at = 70_004 + (cut if cut < len(KEY) else -cut)
            await response.write(content[:at])
            await asyncio.sleep(0)
            await response.write(content[at:])
            return response

        flexport.usual = in_two
    taken = bytearray()

    async def sink(chunk):
        taken.extend(chunk)

    with pytest.raises(EchoedSecretError) as caught:
        await client.download("/documents/a/download", "refresh", sink, 1 << 20)
    assert KEY.encode() not in taken
    assert KEY not in str(caught.value)
    flexport.usual = answer(content.replace(KEY.encode(), b"-"), Content_Type="application/pdf")
    assert (await client.download("/documents/a/download", "refresh", sink, 1 << 20)).size == 140_005


async def test_nothing_that_is_kept_holds_a_secret(tmp_path, clock, capfd):
    """Every byte of both folders and of the log, after a sync of lists that repeat our secrets in all ways."""
    small = SmallFlexport()
    for found in one_of_each():
        small.put({**found, "unknown_to_us": {"seen": [f"Bearer {KEY}", SECRET]}, "metadata": {KEY: [SECRET]}})
    small.objects["/shipments"]["bad"] = {"_object": "/shipment", "id": f"no id {KEY}", "name": 7}
    small.objects["/products"]["bad"] = {"_object": f"/{KEY}", "id": None, "echo": SECRET}

    def reply(request):
        if request.path == "/ports":
            return web.json_response({"errors": [{"code": KEY, "message": f"{SECRET} {KEY}"}]}, status=422)
        return small.answer(request)

    double = FlexportDouble()
    double.usual = reply
    async with double.running():
        settings = Settings.for_tests(
            tmp_path,
            **{"flexport.api_key": KEY, "flexport.base_url": double.url, "flexport.requests_per_second": 1000},
        )
        async with start(settings, clock) as daemon:
            number = (await daemon.call("/sync/run", status=202))["id"]
            async with asyncio.timeout(60):
                while (await daemon.get(f"/sync/runs/{number}"))["state"] == "running":
                    await look_again()
            shown = [
                json.dumps(await daemon.get(path))
                for path in ("/status", "/drift", "/sync", "/shipments?include=raw", f"/sync/runs/{number}", "/jobs")
            ]
            assert "***" in shown[3]
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(map(len, kept)) > 100_000
    logged = capfd.readouterr()
    for secret in (KEY, SECRET):
        for form in {secret, *forms(secret)}:
            assert not any(form.encode() in content for content in kept), form
            assert form not in "".join(shown)
            assert form not in logged.out + logged.err


# --- the cleaning itself ---


def test_json_as_rails_writes_it_is_cleaned_too():
    for secret, written in (("a&b<c>d&e", "a\\u0026b\\u003cc\\u003ed\\u0026e"), ("a/b+c=d/e=f", "a\\/b+c=d\\/e=f")):
        assert json.loads(Secrets([secret]).clean(f'{{"echo": "{written}"}}'.encode())) == {"echo": "***"}


@given(st.text(min_size=8, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_what_was_json_stays_json_without_the_secret(secret, before, after):
    secret = f"k{secret}z"  # no digit at its ends could belong to an escape beside it
    for ascii_only in (True, False):
        text = json.dumps({"a": before + secret + after, "b": [secret]}, ensure_ascii=ascii_only)
        found = json.loads(Secrets([secret]).clean(text.encode("utf-8", "surrogatepass")))
        assert secret not in found["b"]
        assert set(found) == {"a", "b"}


@given(st.binary(max_size=200))
def test_what_holds_no_secret_is_not_changed(content):
    assert Secrets([KEY, HOOK]).clean(content, "bearer-of-today") is content


def test_a_secret_as_short_as_a_word_leaves_the_data_alone():
    assert Secrets(["ocean"]).clean(b'{"mode": "ocean"}', "air") == b'{"mode": "ocean"}'
