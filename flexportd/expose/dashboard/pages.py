"""Placeholder for routes."""

from aiohttp import web


def add_routes(app: web.Application) -> None:
    """None yet."""
