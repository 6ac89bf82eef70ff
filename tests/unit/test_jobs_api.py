"""The jobs over HTTP, and the commands that ask for them: real HTTP, on loopback and on a control socket."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from flexportd.cli.command import Invocation
from flexportd.cli.commands.jobs import jobs as jobs_command
from flexportd.cli.exit_codes import Exit
from flexportd.daemon import sockets
from flexportd.errors import ConflictError, FlexportdError, NotFoundError
from flexportd.expose.api import queue
from flexportd.expose.context import JOBS
from flexportd.expose.middleware import auth_middleware
from flexportd.expose.openapi.router import register, routes_of
from flexportd.expose.security.access_policy import ACCESS_POLICY, AccessPolicy
from flexportd.jobs.job import Cron, Every, Job
from flexportd.jobs.scheduler import Scheduler
from flexportd.storage.database import Database
from flexportd.tasks import Tasks
from tests.under_test import look_again


class Served:
    """A scheduler of its own behind the routes, with the rest of a running daemon around them."""

    def __init__(self, scheduler, http, url, config):
        self.scheduler = scheduler
        self.ending = asyncio.Event()
        self.error = None
        self._http = http
        self._url = url
        self._config = config

    async def work(self, run):
        await self.ending.wait()
        if self.error is not None:
            raise self.error
        return "12 read"

    async def ask(self, path, status, method="GET", **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._http.request(method, self._url + "/api/v1/jobs" + path, headers=sent) as answer:
            body = await answer.read()
            assert answer.status == status, body
            return (json.loads(body) if body else None), answer.headers

    async def get(self, path, status=200):
        return (await self.ask(path, status))[0]

    async def post(self, path, status=200):
        return (await self.ask(path, status, "POST"))[0]

    async def command(self, *arguments):
        """The exit code of a command of a person."""
        options = {"obj": Invocation(self._config), "standalone_mode": False}
        found = await asyncio.to_thread(jobs_command.main, list(arguments), **options)
        return found or Exit.DONE


@pytest.fixture
async def served(daemon, clock, tmp_path):
    async with served_from(daemon.daemon, clock, tmp_path) as one:
        yield one


@asynccontextmanager
async def served_from(parts, clock, folder: Path):
    place, config, tasks = folder / "j.sock", folder / "j.toml", Tasks()
    config.write_text(f'[storage]\ndata_dir = "d"\ncontrol_socket = "{place}"\n', encoding="utf-8")
    app = web.Application(middlewares=[auth_middleware])
    parts.add_parts(app)
    app[ACCESS_POLICY] = AccessPolicy(clock, checks_hosts=False)
    async with Database.open(folder / "jobs") as db, aiohttp.ClientSession() as http:
        scheduler = Scheduler(db, clock, tasks, spread=0.0)
        app[JOBS] = scheduler
        register(app.router, routes_of(queue))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await web.SockSite(runner, sockets.bind_control_socket(place)).start()
        one = Served(scheduler, http, f"http://127.0.0.1:{runner.addresses[0][1]}", config)
        scheduler.add(Job(name="full_sync", title="Read every list.", run=one.work, schedule=Every(3600), limit=60))
        scheduler.add(
            Job(name="retention", title="Forget what is old.", run=one.work, schedule=Cron("30 3 * * *"), limit=60)
        )
        await scheduler.start()
        yield one
        await scheduler.stop(0)
        await tasks.stop()
        await runner.cleanup()


async def test_the_list_tells_of_every_job(served):
    document = await served.get("")
    assert (document["next"], document["as_of"]) == (None, None)
    first, second = document["data"]
    assert first | {"next_run_at": None} == {
        "id": "full_sync", "title": "Read every list.", "schedule": "every 1 h", "paused": False, "running": None,
        "next_run_at": None, "last_run": None, "last_success_at": None, "runs": 0, "failures": 0,
        "consecutive_failures": 0, "skipped": 0,
    }  # fmt: skip
    assert first["next_run_at"] > "2026"
    assert (second["id"], second["schedule"]) == ("retention", "daily at 03:30 UTC")


async def test_a_run_is_begun_refused_while_it_runs_and_shown_with_its_end(served):
    begun, headers = await served.ask("/full_sync/run", 202, "POST")
    assert headers["Location"] == "/api/v1/jobs/full_sync"
    assert begun["running"]["cause"] == "manual"
    problem = await served.post("/full_sync/run", 409)
    assert problem["type"] == "urn:flexportd:problem:conflict"
    assert begun["running"]["since"] in problem["detail"]
    document = await served.get("/full_sync")
    assert document["running"] == begun["running"]
    assert [(run["id"], run["outcome"]) for run in document["recent_runs"]] == [(begun["running"]["id"], None)]
    assert (await served.get(""))["as_of"] == begun["running"]["since"]
    served.ending.set()
    await served.scheduler.wait_until_idle("full_sync")
    document = await served.get("/full_sync")
    assert document["running"] is None
    run = document["recent_runs"][0]
    assert (run["outcome"], run["message"], run["cause"]) == ("done", "12 read", "manual")
    assert document["last_run"] == {
        name: run[name] for name in ("started_at", "ended_at", "seconds", "outcome", "message")
    }
    assert (await served.get(""))["as_of"] == run["ended_at"] == document["last_success_at"]


async def test_an_answer_that_has_not_changed_is_not_sent_again(served):
    _, headers = await served.ask("", 200)
    await served.ask("", 304, if_none_match=headers["ETag"])
    await served.post("/full_sync/pause")
    await served.ask("", 200, if_none_match=headers["ETag"])


async def test_a_job_is_held_and_let_go(served):
    for _ in range(2):
        document = await served.post("/full_sync/pause")
        assert (document["paused"], document["next_run_at"]) == (True, None)
    assert (await served.get("/full_sync"))["paused"] is True
    document = await served.post("/full_sync/resume")
    assert document["paused"] is False
    assert document["next_run_at"] is not None


@pytest.mark.parametrize(("path", "method"), [("", "GET"), ("/run", "POST"), ("/pause", "POST"), ("/resume", "POST")])
async def test_an_unknown_job_is_404_and_names_the_known(served, path, method):
    document, _ = await served.ask(f"/nightly{path}", 404, method)
    assert document["detail"] == "there is no job 'nightly'; there are full_sync, retention"


@pytest.mark.parametrize(
    ("path", "method"),
    [("", "GET"), ("/full_sync", "GET"), ("/full_sync/run", "POST"), ("/full_sync/pause", "POST")],
)  # fmt: skip
async def test_an_unknown_parameter_is_an_error_and_changes_nothing(served, path, method):
    document, _ = await served.ask(f"{path}?wait=1", 400, method)
    assert document["parameter"] == "wait"
    found = await served.get("/full_sync")
    assert (found["runs"], found["running"], found["paused"]) == (0, None, False)


async def test_commands_list_show_pause_and_resume(served, capsys):
    assert await served.command("list") == Exit.DONE
    table = capsys.readouterr().out
    assert "full_sync" in table
    assert "every 1 h" in table
    assert await served.command("pause", "full_sync") == Exit.DONE
    assert await served.command("list", "--json") == Exit.DONE
    said, document = capsys.readouterr().out.splitlines()
    assert said == "Job full_sync paused."
    assert json.loads(document) == await served.get("")
    assert await served.command("resume", "full_sync") == Exit.DONE
    assert "Job full_sync resumed. Next run: in " in capsys.readouterr().out
    served.ending.set()
    assert await served.command("run", "full_sync", "--wait") == Exit.DONE
    while (await served.get("/full_sync"))["running"]:  # on a busy machine, its own time has come meanwhile
        await look_again()
    capsys.readouterr()
    assert await served.command("show", "full_sync") == Exit.DONE
    shown = capsys.readouterr().out
    for part in ("Read every list.", "Recent runs", "12 read", "manual", "done"):
        assert part in shown


async def test_a_run_is_begun_without_waiting(served, capsys):
    assert await served.command("run", "full_sync") == Exit.DONE
    assert capsys.readouterr().out == "Job full_sync started.\n"
    with pytest.raises(ConflictError, match="is already running"):
        await served.command("run", "full_sync")
    assert await served.command("list") == Exit.DONE
    assert "running" in capsys.readouterr().out
    with pytest.raises(NotFoundError, match="no job 'nightly'"):
        await served.command("run", "nightly")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(None, Exit.DONE, "full_sync: done after "), (FlexportdError("Flexport answered 401"), Exit.FAILED, ": Flexport answered 401")],
)  # fmt: skip
async def test_waiting_for_a_run_ends_as_the_run_does(served, capsys, error, code, said):
    served.error = error
    waiting = asyncio.get_running_loop().create_task(served.command("run", "full_sync", "--wait"))
    async with asyncio.timeout(20):
        while not (await served.get("/full_sync"))["running"]:
            assert not waiting.done()
            await look_again()
        served.ending.set()
        assert await waiting == code
    assert said in capsys.readouterr().out


async def test_waiting_as_json_prints_the_job_as_it_ended(served, capsys):
    served.ending.set()
    assert await served.command("run", "retention", "--wait", "--json") == Exit.DONE
    document = json.loads(capsys.readouterr().out)
    assert document["recent_runs"][0]["outcome"] == "done"
