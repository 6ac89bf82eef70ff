"""Reading of request bodies within the limits of their client."""

from aiohttp import web

from flexportd.expose.context import CONTEXT
from flexportd.expose.security.access_policy import ACCESS_POLICY
from flexportd.http.request_bodies import READ_BODY


async def read_body(request: web.Request, most: int) -> bytes:
    """The body. Raises RefusedError: 413 for more than `most` bytes, 408, 503."""
    policy = request.app[ACCESS_POLICY]
    with request.app[CONTEXT].bodies.reserve(lambda: policy.client(request)) as reservation:
        request[READ_BODY] = body = b"".join(await reservation.read(request, most))
        return body
