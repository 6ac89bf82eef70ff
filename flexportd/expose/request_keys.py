"""What a request carries from its entrance to its answer."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flexportd.core.access.keys import Principal
from flexportd.errors import RefusedError
from flexportd.expose.security.rate_limit import RateLimitResult

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("viewer", Principal)
"""Who asks."""

AUTHENTICATED: web.RequestKey[Principal] = web.RequestKey("admitted", Principal)
"""Whose key has been looked at already: it counts once."""

AUTH_ERROR: web.RequestKey[RefusedError] = web.RequestKey("refused", RefusedError)
"""Why its key has been refused already: that counts once, too."""

RATE: web.RequestKey[RateLimitResult] = web.RequestKey("taken", RateLimitResult)
"""What its rate allows."""

TIMEOUT: web.RequestKey[asyncio.Timeout] = web.RequestKey("limit", asyncio.Timeout)
"""The time within which it must be answered; what streams puts it off once it has begun."""

RESPONSE_HEADERS: web.RequestKey[dict[str, str]] = web.RequestKey("headers", dict)
"""Header lines that its answer gets."""

QUERY: web.RequestKey[Mapping[str, Any]] = web.RequestKey("query", Mapping)
"""The values of its declared parameters."""

BODY: web.RequestKey[object] = web.RequestKey("body", object)
"""Its body, as its route declares it."""

CANONICAL_PATH: web.RequestKey[str] = web.RequestKey("referred", str)
"""Its path with the id, where it names an object by a reference."""
