"""Every route of the API, in the order in which the description lists them."""

import functools
from collections.abc import Sequence

from flexportd.core.resources.registry import Registry
from flexportd.expose import metrics
from flexportd.expose.api import (
    carbon,
    dead_letters,
    description,
    drift,
    events,
    exceptions,
    file_requests,
    files,
    gaps,
    health,
    jobs,
    keys,
    nested_lists,
    provenance,
    queue,
    resources,
    search,
    shares,
    shipments,
    status,
    sync,
    sync_review,
    webhooks,
)
from flexportd.expose.dashboard.pages import share
from flexportd.expose.feeds import icalendar
from flexportd.expose.openapi.route import Route
from flexportd.expose.streaming import sse


@functools.lru_cache(maxsize=8)
def routes(registry: Registry, webhook_path: str) -> tuple[Route, ...]:
    """All of them; those of resources follow from the registry. Fixed paths come before those with an id."""
    listed = tuple(resources.resources(registry).values())
    return (
        *shipments.ROUTES,
        *carbon.ROUTES,
        *file_requests.ROUTES,
        *files.ROUTES,
        *(route for resource in listed for route in resource.routes()),
        *nested_lists.routes(listed),
        *exceptions.ROUTES,
        *search.ROUTES,
        *icalendar.ROUTES,
        *shares.ROUTES,
        *share.ROUTES,
        *provenance.ROUTES,
        *events.ROUTES,
        *sse.ROUTES,
        *health.ROUTES,
        *status.ROUTES,
        *queue.ROUTES,
        *dead_letters.ROUTES,
        *sync.ROUTES,
        *sync_review.ROUTES,
        *jobs.ROUTES,
        *gaps.ROUTES,
        *drift.ROUTES,
        *metrics.ROUTES,
        *keys.ROUTES,
        *webhooks.routes(webhook_path),
        *description.ROUTES,
    )


def literal_first(listed: Sequence[Route]) -> list[Route]:
    """As a router needs them that takes the first that fits: `/documents/files` before `/documents/{id}`."""
    return sorted(listed, key=lambda route: [part.startswith("{") for part in route.path.split("/")])
