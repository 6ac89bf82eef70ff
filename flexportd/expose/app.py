"""The web applications: routes, declared in one place each."""

from aiohttp import web

from flexportd.expose.api import archive, children, drift, events, gaps, jobs, queue, shipments, status, sync, why
from flexportd.expose.api.resources import Resource
from flexportd.expose.dashboard import pages
from flexportd.expose.metrics import metrics
from flexportd.expose.parts import PARTS, Parts
from flexportd.expose.problems import problems, same_origin

V1 = "/api/v1"


def private_app(parts: Parts, max_body: int, *, dashboard: bool) -> web.Application:
    """Everything: for loopback addresses and Unix sockets."""
    app = web.Application(middlewares=[problems, same_origin], client_max_size=max_body)
    app[PARTS] = parts
    _add_public(app, parts)
    app.router.add_get("/readyz", status.readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get(f"{V1}/status", status.status)
    app.router.add_get(f"{V1}/queue", queue.show_queue)
    app.router.add_get(f"{V1}/queue/items", queue.items)
    app.router.add_post(f"{V1}/queue/pause", queue.set_paused)
    app.router.add_post(f"{V1}/queue/resume", queue.set_paused)
    app.router.add_get(f"{V1}/dead-letters", queue.index)
    app.router.add_post(f"{V1}/dead-letters/retry", queue.retry_many)
    app.router.add_get(f"{V1}/dead-letters/{{id}}", queue.show)
    app.router.add_post(f"{V1}/dead-letters/{{id}}/retry", queue.retry)
    app.router.add_post(f"{V1}/dead-letters/{{id}}/discard", queue.discard)
    app.router.add_get(f"{V1}/events", events.index)
    app.router.add_get(f"{V1}/events/{{id}}", events.show)
    app.router.add_post(f"{V1}/events/{{id}}/replay", events.replay)
    app.router.add_get(f"{V1}/shipments", shipments.index)
    app.router.add_get(f"{V1}/shipments/{{id}}", shipments.show)
    app.router.add_get(f"{V1}/shipments/{{id}}/timeline", shipments.show_timeline)
    app.router.add_get(f"{V1}/shipments/{{id}}/history", shipments.show_history)
    app.router.add_get(f"{V1}/shipments/{{id}}/legs", shipments.show_legs)
    app.router.add_get(f"{V1}/shipments/{{id}}/containers", shipments.show_containers)
    app.router.add_get(f"{V1}/shipments/{{id}}/carbon", shipments.show_carbon)
    app.router.add_post(f"{V1}/shipments/{{id}}/carbon", shipments.calculate_carbon)
    archive.add_routes(app, parts.filing, V1)  # before `/documents/{id}`
    _add_resources(app, parts)
    why.add_routes(app.router, V1)
    app.router.add_get(f"{V1}/sync", sync.show)
    app.router.add_post(f"{V1}/sync/run", sync.run)
    app.router.add_post(f"{V1}/sync/accept", sync.accept)
    app.router.add_get(f"{V1}/sync/held", sync.held)
    app.router.add_get(f"{V1}/sync/unreadable", sync.unreadable)
    app.router.add_get(f"{V1}/sync/runs", sync.runs)
    app.router.add_get(f"{V1}/sync/runs/{{id}}", sync.show_run)
    app.router.add_get(f"{V1}/gaps", gaps.index)
    app.router.add_get(f"{V1}/gaps/events", gaps.events)
    app.router.add_get(f"{V1}/drift", drift.index)
    jobs.add_routes(app, parts.jobs, V1)
    if dashboard:
        pages.add_routes(app)
    return app


def _add_resources(app: web.Application, parts: Parts) -> None:
    resources = [Resource(domain, parts.registry) for domain in parts.registry]
    for resource in resources:
        resource.add_routes(app.router, V1)
    children.add_routes(app.router, resources, V1)


def public_app(parts: Parts, max_body: int) -> web.Application:
    """What may be reached from elsewhere without a key: the webhook and liveness."""
    app = web.Application(middlewares=[problems], client_max_size=max_body)
    app[PARTS] = parts
    _add_public(app, parts)
    return app


def _add_public(app: web.Application, parts: Parts) -> None:
    app.router.add_post(parts.shown.webhook_path, parts.webhook)
    app.router.add_get("/healthz", status.healthz)
