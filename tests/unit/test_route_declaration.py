"""`@route`: the operation id, the summary and the description follow from the handler."""

import sys

import pytest
from aiohttp import web

from flexportd.core.resources import shipments
from flexportd.core.resources.registry import Registry
from flexportd.expose.app import routes
from flexportd.expose.openapi.route import Response
from flexportd.expose.openapi.router import route, routes_of


class Answer:
    """The answer to everything. It may take a while."""


@route("GET", "/answers/{id}", tag="search", returns=Answer)
async def get_answer(request: web.Request) -> web.StreamResponse:
    """Get the answer.

    A paragraph
    over two lines.

    - a list
    - stays one
    """
    return web.Response()


@route("POST", "/ask", prefix="", tag="search", returns=Response(description="Done.", status=202), description="Long.")
async def ask(request: web.Request) -> web.StreamResponse:
    """Ask."""
    return web.Response()


def test_a_route_is_described_by_its_handler() -> None:
    declared, other, _ = routes_of(sys.modules[__name__])
    assert (declared.name, declared.path, declared.summary) == ("get_answer", "/api/v1/answers/{id}", "Get the answer")
    assert declared.description == "A paragraph over two lines.\n\n- a list\n- stays one"
    assert [(one.status, one.model, one.description) for one in declared.returns] == [
        (200, Answer, "The answer to everything.")
    ]
    assert (other.path, other.summary, other.description) == ("/ask", "Ask", "Long.")
    assert [one.status for one in other.returns] == [202]


@route("POST", "/shipments/{id}/asked", returns=Answer)
async def ask_about(request: web.Request) -> web.StreamResponse:
    """Ask about a shipment."""
    return web.Response()


def test_tag_and_id_follow_from_the_path_unless_they_are_given() -> None:
    declared, other, third = routes_of(sys.modules[__name__])
    assert [one.tag for one in (declared, other, third)] == ["search", "search", "shipments"]
    assert [[one.domain for one in found.path_parameters] for found in (declared, other, third)] == [
        [],
        [],
        [shipments.RESOURCE_TYPE],
    ]


def test_a_field_that_no_route_has_is_an_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        route("GET", "/x", tag="search", returns=Answer, colour="red")(get_answer)


def test_every_operation_has_an_id_of_its_own_and_one_order() -> None:
    listed = routes(Registry(), "/hooks")
    assert len({one.name for one in listed}) == len(listed)
    assert [one.path for one in listed if one.name == "receive_webhook"] == ["/hooks"]
    assert next(one.path for one in listed) == "/api/v1/shipments"
