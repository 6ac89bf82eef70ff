"""The page behind a share link: for somebody without a key, mostly on a phone."""

import asyncio

from aiohttp import hdrs, web

from flexportd.answers import HTML, NO_REFERRER, Answer, EncodedResponse
from flexportd.expose.api import shares
from flexportd.expose.coding import chosen, encoded
from flexportd.expose.contract.route import Returns, Route
from flexportd.expose.contract.typed import identifier
from flexportd.expose.dashboard import rendering, share
from flexportd.expose.dashboard.serving import sight_of, site
from flexportd.expose.parts import PARTS


async def read(request: web.Request) -> web.StreamResponse:
    """`GET /s/{token}`. Never kept: each look counts, and says how old it is."""
    seen = await shares.look(request)
    parts = request.app[PARTS]
    sight, title, coding = sight_of(parts), site(parts), chosen(request.headers.get(hdrs.ACCEPT_ENCODING, ""))

    def work() -> bytes:
        page = share.share_page(seen["shipment"], seen["expires_at"], title, sight)
        body = rendering.render_alone("share.html", page)
        return encoded(body, coding) if coding else body

    headers = {"x_robots_tag": "noindex, nofollow", "vary": hdrs.ACCEPT_ENCODING, "referrer_policy": NO_REFERRER}
    if coding is not None:
        headers["content_encoding"] = coding
    return EncodedResponse(Answer(200, await asyncio.to_thread(work), HTML, **headers))


ROUTES = (
    Route(
        method="GET",
        path=shares.PAGE,
        handler=read,
        name="get_share_page",
        tag="shares",
        summary="Shipment page of a share link",
        about="Needs no key: this is the link itself. Each view is counted. Browsers also receive errors as pages.",
        scope=None,
        any_query=True,  # messengers add what they like to links
        path_parameters=(identifier("The token of the link.", "token", "fxs_…"),),
        returns=(Returns(about="The page.", media=("text/html",)),),
        problems=("not-found", "share-expired", "share-revoked"),
    ),
)
