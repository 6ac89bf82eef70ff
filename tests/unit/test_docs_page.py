"""The description as a page: complete, offline, and of commands that a shell takes as they are."""

import gzip
import json
import shlex
from html.parser import HTMLParser

import pytest

from flexportd.core.resources.registry import Registry
from flexportd.expose import docs_page
from flexportd.expose.app import routes
from flexportd.expose.dashboard import render
from flexportd.expose.docs_page import curl, example_body, example_path
from flexportd.expose.openapi import document
from flexportd.expose.openapi.route import Parameter, Response, Route

URL = "https://freight.example.com/"
ROUTES = routes(Registry(), "/webhooks/flexport")


@pytest.fixture(scope="module")
def described():
    return document.openapi_document(ROUTES)


@pytest.fixture(scope="module")
def shown():
    return docs_page.api_page(ROUTES, URL)


@pytest.fixture(scope="module")
def html():
    return render.render("api.html", docs_page.api_page(ROUTES, URL)).decode()


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.inside, self.loaded, self.tags = set(), set(), set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.add(tag)
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        if "id" in attributes:
            assert attributes["id"] not in self.ids
            self.ids.add(attributes["id"])
        address = attributes.get("href", "")
        if address.startswith("#"):
            self.inside.add(address[1:])
        elif address or "src" in attributes:
            self.loaded.add(address or attributes["src"])


def operations(described):
    return [one for methods in described["paths"].values() for one in methods.values()]


def listed(shown):
    return [one for part in shown.parts for group in part.groups for one in group.operations]


def test_every_route_problem_and_object_is_there(described, shown, html):
    found = Links(html)
    names = {one["operationId"] for one in operations(described)}
    assert names <= found.ids
    assert {one.route.name for one in listed(shown)} == names
    assert shown.count == len(names)
    assert {f"model-{name}" for name in described["components"]["schemas"]} <= found.ids
    assert {"problem-cursor-expired", "problem-key-missing", "problem-share-revoked"} <= found.ids


def test_no_link_inside_leads_nowhere_and_nothing_is_loaded_from_elsewhere(html):
    found = Links(html)
    assert found.inside <= found.ids
    assert all(one.startswith(("/static/", "/api/v1/")) for one in found.loaded)
    assert "style" not in found.tags


def test_it_is_light_enough_to_be_opened_on_a_phone(html):
    assert len(html.encode()) < 800_000
    assert len(gzip.compress(html.encode())) < 80_000


def test_what_many_lists_take_is_told_once_and_named_by_each(described, shown):
    wanted = described["paths"]["/api/v1/shipments"]["get"]["parameters"]
    (one,) = [one for one in listed(shown) if one.route.name == "list_shipments"]
    assert {shape.name for shape in one.parameters} | set(one.common) == {parameter["name"] for parameter in wanted}
    assert {"limit", "cursor"} <= set(one.common)
    assert set(one.common) <= {shape.name for shape in shown.common}
    assert not set(one.common) & {shape.name for shape in one.parameters}
    assert "status" in {shape.name for shape in one.parameters}


def test_problems_of_every_route_are_not_repeated(shown):
    (one,) = [one for one in listed(shown) if one.route.name == "list_shipments"]
    assert "cursor-expired" in one.problems
    assert not {"internal-error", "invalid-request", "key-missing"} & set(one.problems)
    assert {trouble.slug for trouble in shown.problems if trouble.is_anywhere} >= {
        "internal-error",
        "invalid-request",
        "key-missing",
    }


def test_resources_are_grouped_by_what_they_are_about(shown):
    (part,) = [part for part in shown.parts if part.name == "resources"]
    assert [group.name for group in part.groups][:2] == ["legs", "containers"]
    assert all(one.route.path.startswith(f"/api/v1/{group.name}") for group in part.groups for one in group.operations)


def test_every_command_is_one_that_a_shell_takes(described, shown):
    for one in listed(shown):
        words = shlex.split(one.curl)
        assert words[0] == "curl"
        assert words[-1].startswith(URL)
        assert "{" not in words[-1]
        if "-d" in words:
            assert isinstance(json.loads(words[words.index("-d") + 1]), dict)


def test_commands_send_the_key_where_one_is_needed(described, shown):
    curls = {one.route.name: one.curl for one in listed(shown)}
    assert '-H "Authorization: Bearer $KEY"' in curls["list_shipments"]
    assert "Authorization" not in curls["get_share_page"]
    open_to_all = docs_page.api_page(ROUTES, URL, keys=False)
    assert not [one for one in listed(open_to_all) if "Authorization" in one.curl]
    assert (shown.needs_key, open_to_all.needs_key) == (True, False)


def plain_route(method: str, path: str, *media: str, **more) -> Route:
    returns = (Response(description="Done.", media=media),) if media else ()
    return Route(
        method=method, path=path, handler=None, name="x", tag="search", summary="X", scope=None, returns=returns, **more
    )


def test_methods_bodies_and_files_are_asked_for_as_curl_wants_it():
    got = plain_route("GET", "/a", "application/zip")
    assert curl(got, "http://x", {}, with_key=False) == "curl -OJ http://x/a"
    required = Parameter(name="b", description="", schema={}, required=True, example=1)
    stream = plain_route("GET", "/a", "text/event-stream", query=(required,))
    assert curl(stream, "http://x", {}, with_key=False) == 'curl -N "http://x/a?b=1"'
    plain = plain_route("POST", "/a")
    assert curl(plain, "http://x", {}, with_key=False) == "curl -X POST http://x/a"
    body = {"properties": {"reason": {"examples": ["it's over"]}}}
    command = curl(plain, "http://x", body, with_key=False)
    assert json.loads(shlex.split(command.replace("\\\n", ""))[-2]) == {"reason": "it's over"}


def test_addresses_hold_examples_and_what_is_needed():
    asked = plain_route(
        "GET",
        "/x/{id}/{token}",
        path_parameters=(
            Parameter(name="id", description="", schema={}, where="path", example="a/b c"),
            Parameter(name="token", description="", schema={}, where="path", example="fxs_…"),
        ),
        query=(
            Parameter(name="q", description="", schema={}, required=True),
            Parameter(name="limit", description="", schema={"default": 50}),
            Parameter(name="other", description="", schema={"default": 1}),
        ),
    )
    assert example_path(asked) == "/x/a%2Fb%20c/TOKEN?q=Q&limit=50"


def test_a_sample_body_has_what_is_needed():
    kinds = {
        "text": {"type": "string"}, "number": {"type": "integer"}, "rows": {"type": "array"}, "word": {"enum": ["a", "b"]},
        "either": {"anyOf": [{"type": "object"}, {"type": "null"}]}, "usual": {"default": "x"}, "left": {"type": "string"},
    }  # fmt: skip
    needed = [name for name in kinds if name != "left"]
    assert example_body({"properties": kinds, "required": needed}) == {
        "text": "…", "number": 1, "rows": [], "word": "a", "either": {}, "usual": "x"
    }  # fmt: skip
    assert example_body({"properties": {"expires": {"default": "30d"}, "label": {"default": None}}}) == {
        "expires": "30d"
    }
