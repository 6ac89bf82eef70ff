"""Declaring the route of a list: its parameters and its response follow from the rules of the list."""

from collections.abc import Callable
from typing import Any

from flexportd.expose.openapi.parameters import list_params
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import H, route
from flexportd.expose.openapi.schemas import page_response


def list_route(
    path: str, rules: ListRules, item: Any, order: str, *, past: bool = False, **options: Any
) -> Callable[[H], H]:
    """Declare the handler of a list with these rules. `item` is the model of a row; `options` are those of `route`."""
    returns = page_response(item, f"A page, {order}.")
    return route("GET", path, query=list_params(rules, past=past), returns=returns, **options)
