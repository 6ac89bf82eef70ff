"""Every background job: when it runs, how long it may take, and what it is called."""

from collections.abc import Mapping

from flexportd.jobs.job import AtStart, Cron, Every, Job, JobFunction, Schedule
from flexportd.jobs.sync.shipment_details import NAME as DETAILS
from flexportd.settings import Settings

_MINUTE, _HOUR = 60.0, 3600.0


def define_jobs(settings: Settings, functions: Mapping[str, JobFunction]) -> list[Job]:
    """The jobs that have a function, in the order in which people see them. Those from `full_sync` on need Flexport.

    `GET /events` is read in three windows: a narrow one often, wide ones for events that Flexport records long after
    they happened. Raises ValueError for a function without a definition.
    """
    full = settings.sync.full_interval.total_seconds()
    changes = settings.sync.incremental_interval.total_seconds()
    events = settings.sync.events_interval.total_seconds()
    # name, title, schedule, limit, jitter, at start
    table: tuple[tuple[str, str, Schedule, float, float, AtStart], ...] = (
        ("cache_warm", "Warm the cache", Every(_HOUR), 5 * _MINUTE, _MINUTE, "always"),
        ("retention", "Delete expired events and history", Cron("40 3 * * *"), _HOUR, 5 * _MINUTE, "no"),
        ("full_sync", "Compare all lists with Flexport", Every(full), 12 * _HOUR, min(_MINUTE, full / 10), "first"),
        ("incremental_sync", "Fetch recent changes", Every(changes), 30 * _MINUTE, min(10.0, changes / 10), "no"),
        (DETAILS, "Fetch the details of shipments", Every(changes), 12 * _HOUR, min(10.0, changes / 10), "no"),
        ("events_poll", "Check for missed events", Every(events), 30 * _MINUTE, min(5.0, events / 10), "always"),
        ("events_wide", "Check the last 14 days for missed events", Every(_HOUR), 30 * _MINUTE, _MINUTE, "no"),
        ("events_deep", "Check the last 45 days for missed events", Cron("15 2 * * *"), 12 * _HOUR, 10 * _MINUTE, "no"),
    )  # fmt: skip
    unknown = functions.keys() - {row[0] for row in table}
    if unknown:
        raise ValueError(f"no definition of the jobs {', '.join(sorted(unknown))}")
    return [
        Job(name, title, functions[name], schedule, limit, jitter, at_start)
        for name, title, schedule, limit, jitter, at_start in table
        if name in functions
    ]
