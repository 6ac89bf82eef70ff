"""What one request carries from the middleware to its handler and response."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flexportd.core.access.keys import Principal

PRINCIPAL = web.RequestKey("principal", Principal)
"""The authenticated caller."""

TIMEOUT = web.RequestKey("timeout", asyncio.Timeout)
"""The time limit of the response; an export removes it once its body has begun."""

QUERY: web.RequestKey[Mapping[str, Any]] = web.RequestKey("query", Mapping)
"""The parsed values of the declared parameters."""

CANONICAL_PATH = web.RequestKey("canonical_path", str)
"""The path with the id in place of a reference; set only where the request named an object by a reference."""
