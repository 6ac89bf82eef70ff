"""OAuth against a Flexport that hands out ten tokens a day and no more."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.errors import (
    FlexportError,
    FlexportUnavailableError,
    RateLimitedError,
    TokensExhaustedError,
    UnauthorisedError,
)
from flexportd.flexport.oauth.client_credentials import ClientCredentials, Credentials
from flexportd.flexport.oauth.token_store import TokenFile
from tests.flexport_double import FlexportDouble, HurriedClock, answer, html, listing, reset

ROOT = Path(__file__).parents[2]
SECRET = "secret-of-the-account"


@pytest.fixture
async def flexport():
    async with FlexportDouble().running() as double:
        yield double


@pytest.fixture
def hurry():
    return HurriedClock()


class Account:
    """One set of credentials and the folder where its token lies."""

    def __init__(self, flexport, clock, folder):
        self.flexport, self.clock, self.path = flexport, clock, folder / "token.json"

    def credentials(self, client_id="client-1"):
        return Credentials(client_id, SECRET, f"{self.flexport.url}/oauth/token", "https://api.flexport.com")

    @asynccontextmanager
    async def client(self, patience=60.0, client_id="client-1"):
        self.auth = ClientCredentials(self.credentials(client_id), self.path, 5.0)
        rules = ClientRules(self.flexport.url, requests_per_second=1000.0, timeout=5.0, patience=patience)
        async with Client(rules, self.auth, self.clock) as client:
            yield client

    async def ask(self, client, path="/shipments"):
        return await client.page(path, {}, 1, "sync")

    def counted(self):
        kept = TokenFile(self.path, self.credentials().fingerprint()).load(self.clock.now())
        return len(kept.requests_within_day(self.clock.now()))


@pytest.fixture
def account(flexport, hurry, tmp_path):
    return Account(flexport, hurry, tmp_path)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_secret_follows_no_redirect(flexport, account, status):
    async with FlexportDouble().running() as elsewhere:
        flexport.token_script.append(answer(b"", status, Location=f"{elsewhere.url}/oauth/token"))
        async with account.client(patience=0) as client:
            with pytest.raises(FlexportUnavailableError, match=str(status)):
                await account.ask(client)
        assert (elsewhere.asked, elsewhere.token_bodies) == ([], [])


async def test_a_token_is_fetched_once_and_serves_the_next_start_too(flexport, account):
    async with account.client() as client:
        await asyncio.gather(*(account.ask(client) for _ in range(20)))
        state = client.state()["auth"]
        assert (state["kind"], state["authorised"], state["token_requests"]) == ("oauth", True, 1)
        assert state["expires_at"] > account.clock.stamp()
    async with account.client() as client:
        assert client.state()["auth"]["token_requests"] == 1
        await account.ask(client)
    kind, body = flexport.token_bodies[0]
    assert kind == "application/json"
    assert json.loads(body) == {
        "client_id": "client-1",
        "client_secret": SECRET,
        "audience": "https://api.flexport.com",
        "grant_type": "client_credentials",
    }
    assert flexport.token_requests == 1
    assert {request.headers["Authorization"] for request in flexport.asked} == {"Bearer token-1"}
    assert account.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("status", [400, 415])
async def test_the_form_is_tried_once_and_remembered(flexport, account, hurry, status):
    flexport.token_script.append(answer({"error": "invalid_request"}, status))
    async with account.client() as client:
        await account.ask(client)
    hurry.turn(hours=25)
    async with account.client() as client:
        await account.ask(client)
    kinds = [kind for kind, _ in flexport.token_bodies]
    assert kinds == ["application/json", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded"]
    assert parse_qs(flexport.token_bodies[2][1].decode())["client_secret"] == [SECRET]
    assert account.counted() == 1


@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_client", "error_description": f"wrong {SECRET}"},
        {"error": {"_object": "/api/error", "message": f"invalid_client: wrong {SECRET}"}},
    ],
)
async def test_wrong_credentials_are_told_in_flexports_words_and_not_tried_on_and_on(flexport, account, body, caplog):
    caplog.set_level(logging.DEBUG)
    flexport.token_script.extend([answer(body, 401)] * 9)
    async with account.client() as client:
        for _ in range(5):
            with pytest.raises(UnauthorisedError, match=r"invalid_client: wrong \*\*\*") as caught:
                await account.ask(client)
            assert SECRET not in str(caught.value) + repr(caught.value.response.body)
            account.clock.turn(minutes=1)
        state = client.state()["auth"]
        assert (state["authorised"], state["token_requests"]) == (False, 1)
        assert "invalid_client" in state["reason"]
    assert (flexport.token_requests, flexport.asked) == (1, [])
    assert SECRET not in caplog.text


async def test_a_refused_token_request_is_never_taken_for_a_missing_object(flexport, account):
    flexport.token_script.append(answer({"error": "no such path"}, 404))
    async with account.client() as client:
        with pytest.raises(UnauthorisedError):
            await client.get("/shipments", "7", "sync")


async def test_a_token_near_its_end_is_renewed_while_requests_go_on_with_it(flexport, account, hurry):
    async with account.client() as client:
        await account.ask(client)
        hurry.turn(hours=21.7)
        flexport.token_script.append(reset)  # this renewal fails, and nobody notices
        for _ in range(5):
            await account.ask(client)
        while client.state()["auth"]["reason"] is None and flexport.token_requests < 2:
            await asyncio.sleep(0)
        hurry.turn(minutes=10)
        while flexport.tokens < 2:
            await account.ask(client)
        while flexport.asked[-1].headers["Authorization"] != "Bearer token-2":
            await account.ask(client)
    assert flexport.token_requests == 3
    assert {request.headers["Authorization"] for request in flexport.asked} == {"Bearer token-1", "Bearer token-2"}


async def test_concurrent_401s_are_one_renewal(flexport, account):
    async with account.client() as client:
        await account.ask(client)
        flexport.accepts = {"token-2"}
        await asyncio.gather(*(account.ask(client) for _ in range(10)))
    assert flexport.token_requests == 2


async def test_a_late_401_of_an_old_token_renews_nothing(flexport, account):
    async with account.client() as client:
        await account.ask(client)
        assert await account.auth.renew_rejected("token-0", "/shipments")
    assert flexport.token_requests == 1


async def test_a_write_that_a_401_refused_is_sent_with_the_new_token(flexport, account):
    async with account.client() as client:
        await account.ask(client)
        flexport.accepts = {"token-2"}
        flexport.usual = answer({"_object": "/booking", "id": 1})
        assert (await client.send("POST", "/bookings", b"{}", "write")).status == 200


async def test_a_401_never_renews_twice_within_ten_minutes_nor_for_a_resource_that_stays_closed(
    flexport, account, hurry
):
    async with account.client() as client:
        await account.ask(client)
        flexport.usual = answer({}, 401)
        for _ in range(3):
            with pytest.raises(UnauthorisedError):
                await account.ask(client, "/invoices")
        assert flexport.token_requests == 2
        hurry.turn(minutes=11)
        with pytest.raises(UnauthorisedError):
            await account.ask(client, "/invoices")
        assert flexport.token_requests == 2
        with pytest.raises(UnauthorisedError):
            await account.ask(client, "/products")
        assert flexport.token_requests == 3


async def test_who_waits_for_a_token_may_be_cancelled_and_the_token_is_not_lost(flexport, account):
    let = asyncio.Event()

    async def slow(request):
        await let.wait()
        return answer({"access_token": "slow-token", "expires_in": "86400"})(request)

    flexport.token_script.append(slow)
    async with account.client() as client:
        first = asyncio.create_task(account.ask(client))
        while flexport.token_requests < 1:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        let.set()
        await account.ask(client)
    assert flexport.token_requests == 1
    assert flexport.asked[0].headers["Authorization"] == "Bearer slow-token"


async def test_closing_breaks_off_a_token_request_and_tells_who_waits(flexport, account):
    let = asyncio.Event()

    async def slow(request):
        await let.wait()
        return answer({})(request)

    flexport.token_script.append(slow)
    async with account.client(patience=0) as client:
        waiting = asyncio.create_task(account.ask(client))
        while flexport.token_requests < 1:
            await asyncio.sleep(0)
    with pytest.raises(FlexportUnavailableError, match="aborted"):
        await waiting
    let.set()
    assert account.counted() == 1


@pytest.mark.parametrize(
    "fault", [reset, html(200), html(500), answer({}, 302, Location="/x"), answer({"access_token": "a b"})]
)
async def test_a_token_address_that_fails_for_once_is_asked_again_within_patience(flexport, account, fault):
    flexport.token_script.append(fault)
    async with account.client() as client:
        await account.ask(client)
    assert flexport.token_requests == 2
    assert sum(account.clock.slept) >= 4.9


async def test_a_token_address_that_fails_for_a_day_gets_no_more_than_eight_requests(flexport, account, hurry):
    flexport.token_script.extend([html(503)] * 50)
    began = hurry.now()
    async with account.client(patience=0) as client:
        while hurry.now() < began + timedelta(hours=23):
            with pytest.raises(FlexportError):
                await account.ask(client)
            hurry.turn(minutes=5)
        assert 4 <= flexport.token_requests <= 8
        flexport.token_script.clear()
        hurry.turn(hours=8)
        await account.ask(client)


async def test_a_connection_that_was_never_made_costs_no_request(hurry, tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens
        double = FlexportDouble()
        double.url = f"http://127.0.0.1:{held.getsockname()[1]}"
        account = Account(double, hurry, tmp_path)
        async with account.client() as client:
            with pytest.raises(FlexportUnavailableError):
                await account.ask(client)
        assert account.counted() == 0


STORMS = {
    "401": [answer({}, 401)],
    "429": [answer({}, 429, Retry_After="0")],
    "401 of the token too": [answer({}, 401)],
    "429 of the token too": [answer({}, 429)],
}


@pytest.mark.parametrize("storm", STORMS)
@pytest.mark.parametrize("damage", [False, True])
async def test_fifty_restarts_in_a_storm_use_at_most_ten_token_requests(flexport, account, hurry, storm, damage):
    flexport.usual = STORMS[storm][0]
    if "token" in storm:
        flexport.token_script.extend(STORMS[storm] * 500)
    for restart in range(50):
        if damage and restart % 3 == 0:
            account.path.write_bytes(b"{")
        async with account.client(patience=3.0) as client:
            for path in ("/shipments", "/invoices", "/products"):
                with pytest.raises(
                    (UnauthorisedError, RateLimitedError, TokensExhaustedError, FlexportUnavailableError)
                ):
                    await account.ask(client, path)
        hurry.turn(minutes=11)
    assert 1 <= flexport.token_requests <= 10
    assert hurry.turned < timedelta(hours=24)


async def test_a_clock_that_was_set_back_gives_no_further_requests(flexport, account, hurry):
    flexport.token_script.extend([answer({}, 500)] * 50)
    for _ in range(30):
        async with account.client(patience=0) as client:
            with pytest.raises(FlexportError):
                await account.ask(client)
        hurry.turn(hours=-7)
    assert flexport.token_requests <= 8


async def test_requests_that_cannot_be_counted_are_not_sent(flexport, account, tmp_path):
    (tmp_path / "token.requests").mkdir()
    async with account.client(patience=0) as client:
        with pytest.raises(FlexportUnavailableError, match="cannot be counted"):
            await account.ask(client)
    assert flexport.token_requests == 0


KILLED = """
    import asyncio, os, sys
    from pathlib import Path
    from flexportd.clock import Clock
    from flexportd.flexport.oauth import client_credentials
    from flexportd.flexport.client import Client, ClientRules

    async def die(*_):
        os.kill(os.getpid(), 9)

    client_credentials.request_token = die  # between counting and sending

    async def main():
        made = client_credentials.Credentials("client-1", "s", sys.argv[1], "https://api.flexport.com")
        auth = client_credentials.ClientCredentials(made, Path(sys.argv[2]), 5.0)
        async with Client(ClientRules("http://127.0.0.1:1", patience=0), auth, Clock()) as client:
            await client.page("/shipments", {}, 1, "sync")

    asyncio.run(main())
"""


async def test_a_kill_between_counting_and_sending_counts(flexport, account):
    arguments = [sys.executable, "-c", textwrap.dedent(KILLED), account.credentials().token_url, account.path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(subprocess.run, arguments, cwd=ROOT, env=environment, check=False)
    assert done.returncode == -9
    assert (account.counted(), flexport.token_requests) == (1, 0)
    async with account.client() as client:
        await account.ask(client)
    assert account.counted() == 2


async def test_the_token_is_in_no_log_and_no_state(flexport, account, caplog):
    caplog.set_level(logging.DEBUG)
    async with account.client() as client:
        flexport.script.append(answer({"error": {"message": "your token-1 is odd"}}, 403))
        with pytest.raises(FlexportError, match=r"your \*\*\* is odd"):
            await account.ask(client)
        flexport.script.append(answer(listing([])))
        await account.ask(client)
        assert "token-1" not in json.dumps(client.state())
    assert "token-1" not in caplog.text
