"""Jobs run by the clock: never beside themselves, within their limit, and what became of them outlives the process."""

import asyncio
import random
import sqlite3
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from flexportd.clock import parse, stamp
from flexportd.errors import ConflictError, FlexportdError, NotFoundError, UnavailableError
from flexportd.jobs import scheduler
from flexportd.jobs.job import Cron, Every, Job
from flexportd.jobs.job_store import RunResult, end_run, state_after
from flexportd.jobs.scheduler import Scheduler, next_time
from flexportd.storage.database import Database
from flexportd.storage.repositories.jobs import KEPT_RUNS, JobRunRow, JobState
from flexportd.tasks import Tasks
from tests.under_test import DatedClock

HOUR = 3600.0


class Work:
    """A job's work that ends when the test says how."""

    def __init__(self):
        self.runs = []
        self._begun = asyncio.Queue()
        self._ending = asyncio.Queue()

    async def __call__(self, run):
        self.runs.append(run)
        self._begun.put_nowait(run)
        ending = await self._ending.get()
        if isinstance(ending, BaseException):
            raise ending
        return ending

    async def begun(self):
        async with asyncio.timeout(10):
            return await self._begun.get()

    def end(self, ending=None):
        self._ending.put_nowait(ending)


async def quick(run):
    return f"run {run.number} because of {run.cause}"


def job(run=quick, *, name="full_sync", schedule=Every(HOUR), limit=60.0, **more):
    return Job(name=name, title="Read every list.", run=run, schedule=schedule, limit=limit, **more)


class Bench:
    """A scheduler on a real store."""

    def __init__(self, db, clock, *jobs, spread=0.0):
        self.db = db
        self.tasks = Tasks()
        self.scheduler = Scheduler(db, clock, self.tasks, spread=spread)
        for one in jobs:
            self.scheduler.add(one)

    def document(self, name="full_sync"):
        return next(found for found in self.scheduler.list_jobs() if found["id"] == name)

    def outcome(self, name="full_sync"):
        return self.document(name)["last_run"]["outcome"]

    async def ended(self, name="full_sync"):
        async with asyncio.timeout(10):
            await self.scheduler.wait_until_idle(name)

    async def run(self, name="full_sync"):
        await self.scheduler.run_now(name)
        await self.ended(name)
        return self.document(name)

    async def tick(self, name="full_sync"):
        self.scheduler.tick()
        await self.ended(name)
        return self.document(name)

    async def recent(self, name="full_sync"):
        return (await self.scheduler.detail(name))["recent_runs"]


@asynccontextmanager
async def bench(path, clock, *jobs, **options):
    async with Database.open(path) as db:
        one = Bench(db, clock, *jobs, **options)
        await one.scheduler.start()
        try:
            yield one
            assert "job_scheduler" not in one.tasks.dead
        finally:
            await one.scheduler.stop(0)
            await one.tasks.stop()


@asynccontextmanager
async def killed(path, clock, *jobs):
    """A process that dies with what it was doing: nothing of it is written any more."""
    async with Database.open(path) as db:
        one = Bench(db, clock, *jobs)
        await one.scheduler.start()
        yield one
        # Its tasks end only after the disk has stopped to listen.
        await db.writer.run(lambda tx: tx.raw.execute("PRAGMA query_only = 1") and None)
        one.scheduler.wind_down()
        await one.tasks.stop()


async def test_a_job_runs_when_it_is_due_again_and_again(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work, schedule=Every(0.05))) as one:
        for _ in range(3):
            run = await work.begun()
            assert run.cause == "schedule"
            work.end("nothing new")
            await one.ended()
        document = one.document()
        assert document["last_run"]["outcome"] == "done"
        assert document["last_run"]["message"] == "nothing new"
        assert document["runs"] >= 3
        assert document["failures"] == 0


async def test_a_new_job_waits_for_its_first_time(tmp_path, clock):
    async with bench(tmp_path, clock, job()) as one:
        before = clock.now()
        document = await one.tick()
        assert document["last_run"] is None
        assert document["running"] is None
        ahead = parse(document["next_run_at"]) - before
        assert timedelta(minutes=59) < ahead <= timedelta(hours=1)


@pytest.mark.parametrize(("at_start", "causes"), [("no", []), ("first", ["start"]), ("always", ["start", "start"])])
async def test_a_job_runs_at_start_if_it_says_so(tmp_path, clock, at_start, causes):
    for _ in range(2):
        async with bench(tmp_path, clock, job(at_start=at_start)) as one:
            await one.tick()
            await one.tick()
            found = [run["cause"] for run in reversed(await one.recent())]
    assert found == causes


async def test_a_second_start_while_it_runs_is_refused_or_counted_as_skipped(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work)) as one:
        begun = await one.scheduler.run_now("full_sync")
        await work.begun()
        assert begun["running"]["cause"] == "manual"
        with pytest.raises(ConflictError, match=f"is already running, since {begun['running']['since']}"):
            await one.scheduler.run_now("full_sync")
        clock.turn(seconds=3601)
        one.scheduler.tick()
        one.scheduler.tick()
        document = one.document()
        assert document["skipped"] == 1
        assert document["running"] == begun["running"]
        work.end()
        await one.ended()
        assert len(work.runs) == 1
        assert one.document()["running"] is None
    async with bench(tmp_path, clock, job(work)) as one:
        assert one.document()["skipped"] == 1


async def test_a_run_that_takes_too_long_is_ended_and_the_next_may_begin(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work, limit=0.01)) as one:
        document = await one.run()
        assert document["last_run"]["outcome"] == "timed_out"
        assert "its time limit of 0.01 s" in document["last_run"]["message"]
        assert document["failures"] == 1
        assert document["last_success_at"] is None
        assert (await one.run())["runs"] == 2


async def test_a_failure_that_is_understood_is_recorded_with_its_sentence(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work)) as one:
        for ending in (FlexportdError("Flexport answered 401"), FlexportdError("Flexport answered 401"), "12 read"):
            work.end(ending)
        with capture_logs() as logs:
            assert (await one.run())["last_run"]["message"] == "Flexport answered 401"
            assert (await one.run())["consecutive_failures"] == 2
            document = await one.run()
        assert (document["failures"], document["consecutive_failures"]) == (2, 0)
        assert document["last_success_at"] == document["last_run"]["ended_at"]
        assert [entry["event"] for entry in logs] == ["job_failed", "job_recovered"]


@pytest.mark.parametrize("broken", [KeyError("secret"), TimeoutError(), asyncio.CancelledError(), sqlite3.Error("x")])
async def test_an_unexpected_failure_ends_the_run_and_nothing_else(tmp_path, clock, broken):
    work = Work()
    async with bench(tmp_path, clock, job(work)) as one:
        work.end(broken)
        with capture_logs() as logs:
            document = await one.run()
        assert document["last_run"]["outcome"] == "failed"
        assert "secret" not in document["last_run"]["message"]
        tracebacks = [entry for entry in logs if entry.get("exc_info")]
        assert len(tracebacks) == (0 if isinstance(broken, asyncio.CancelledError) else 1)
        assert one.tasks.dead == {}
        work.end()
        assert (await one.run())["last_run"]["outcome"] == "done"


async def test_jobs_that_fail_again_and_again_are_told(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work), job(name="retention")) as one:
        for count in range(1, 4):
            assert one.scheduler.problems() == []
            work.end(FlexportdError(f"no answer {count}"))
            await one.run()
        assert one.scheduler.problems() == ["Job full_sync has failed 3 times in a row: no answer 3"]
    async with bench(tmp_path, clock, job(work), job(name="retention")) as one:
        assert len(one.scheduler.problems()) == 1
        await one.scheduler.set_paused("full_sync", paused=True)
        assert one.scheduler.problems() == []


async def test_stopping_waits_for_a_run_that_ends_by_itself(tmp_path, clock):
    ready = asyncio.Event()

    async def in_steps(run):
        ready.set()
        await run.stopping.wait()
        run.check_stop()

    async with bench(tmp_path, clock, job(in_steps)) as one:
        await one.scheduler.run_now("full_sync")
        await ready.wait()
        await one.scheduler.stop(10)
        assert one.outcome() == "cancelled"
        assert "resumes at the next start" in one.document()["last_run"]["message"]
        assert one.document()["failures"] == 0


async def test_stopping_cancels_a_run_that_does_not_end_and_it_is_caught_up_once(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work)) as one:
        await one.scheduler.run_now("full_sync")
        await work.begun()
        await one.scheduler.stop(0)
        assert one.outcome() == "cancelled"
        with pytest.raises(UnavailableError, match="stopping"):
            await one.scheduler.run_now("full_sync")
    async with bench(tmp_path, clock, job()) as one:
        await one.tick()
        await one.tick()
        assert [run["cause"] for run in await one.recent()] == ["catch_up", "manual"]


async def test_a_run_cancelled_before_its_first_step_is_recorded(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work)) as one:
        clock.turn(hours=2)
        one.scheduler.tick()
        await one.scheduler.stop(0)
        assert one.outcome() == "cancelled"
        assert work.runs == []
        assert [run["outcome"] for run in await one.recent()] == ["cancelled"]


async def test_stop_is_safe_before_any_start_and_twice_and_leaves_nothing_running(tmp_path, clock):
    async with Database.open(tmp_path) as db:
        idle = Bench(db, clock, job())
        await idle.scheduler.stop()
        await idle.scheduler.stop()
    for _ in range(5):
        async with bench(tmp_path, clock, job(Work(), schedule=Every(0.001))) as one:
            await one.scheduler.run_now("full_sync")
            await one.scheduler.stop(0)
            await one.scheduler.stop(0)
    left = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}
    assert not {name for name in left if name.startswith(("job-", "job_scheduler"))}


async def test_a_run_under_way_at_a_crash_is_interrupted_and_caught_up_once(tmp_path, clock):
    work = Work()
    async with killed(tmp_path, clock, job(work)) as one:
        since = (await one.scheduler.run_now("full_sync"))["running"]["since"]
        await work.begun()
    async with bench(tmp_path, clock, job()) as one:
        document = one.document()
        assert document["last_run"]["outcome"] == "interrupted"
        assert document["last_run"]["started_at"] == since
        assert document["last_run"]["seconds"] is None
        assert document["failures"] == 1
        await one.tick()
        await one.tick()
        assert [run["outcome"] for run in await one.recent()] == ["done", "interrupted"]


async def test_a_job_that_takes_the_process_down_again_and_again_waits_for_its_time(tmp_path, clock):
    work = Work()
    for _ in range(3):
        async with killed(tmp_path, clock, job(work)) as one:
            one.scheduler.tick()
            if one.document()["running"] is None:
                await one.scheduler.run_now("full_sync")
            await work.begun()
    async with bench(tmp_path, clock, job()) as one:
        document = await one.tick()
        assert document["runs"] == 3
        assert document["consecutive_failures"] == 3
        assert parse(document["next_run_at"]) > clock.now()


@pytest.mark.parametrize("schedule", [Every(HOUR), Cron("*/30 * * * *")])
async def test_what_was_missed_while_the_process_was_down_is_caught_up_once(tmp_path, clock, schedule):
    async with bench(tmp_path, clock, job(schedule=schedule)):
        pass
    clock.turn(hours=9)
    async with bench(tmp_path, clock, job(schedule=schedule)) as one:
        for _ in range(3):
            document = await one.tick()
        assert document["runs"] == 1
        assert parse(document["next_run_at"]) > clock.now()
        assert [run["cause"] for run in await one.recent()] == ["catch_up"]


async def test_what_was_missed_while_the_machine_slept_is_caught_up_once(tmp_path, clock):
    async with bench(tmp_path, clock, job()) as one:
        clock.turn(hours=9)
        for _ in range(3):
            document = await one.tick()
        assert document["runs"] == 1
        assert [run["cause"] for run in await one.recent()] == ["catch_up"]
        clock.turn(hours=1, seconds=1)
        await one.tick()
        assert [run["cause"] for run in await one.recent()] == ["schedule", "catch_up"]


async def test_the_clock_is_looked_at_without_being_asked(tmp_path, clock):
    class Hurried(type(clock)):
        async def sleep(self, seconds):
            await super().sleep(seconds / 1000)

    hurried, work = Hurried(), Work()
    async with bench(tmp_path, hurried, job(work)) as one:
        hurried.turn(hours=9)
        assert (await work.begun()).cause == "catch_up"
        work.end()
        await one.ended()
        one.scheduler.reschedule("full_sync", Every(60))
        due = one.document()["next_run_at"]
        async with asyncio.timeout(10):
            while [state.next_due_at for state in await one.db.read(lambda tx: tx.jobs.states())] != [due]:
                await hurried.sleep(1)


async def test_by_another_clock_than_the_machines_no_job_runs_before_its_time(tmp_path):
    """By the machine's clock, every time of a simulated past is over."""
    clock = DatedClock()
    async with bench(tmp_path, clock, job(), job(name="other")) as one:
        await one.run("other")  # an alarm that rings at once has rung by then
        assert one.document()["last_run"] is None
        clock.turn(seconds=HOUR + 5)
        assert (await one.tick())["last_run"]["message"] == "run 2 because of schedule"


async def test_catching_up_is_spread_over_some_seconds(tmp_path, clock):
    async with bench(tmp_path, clock, job(), spread=600.0) as one:
        clock.turn(hours=9)
        document = await one.tick()
        assert document["runs"] == 0
        assert clock.now() < parse(document["next_run_at"]) < clock.now() + timedelta(minutes=10)
        clock.turn(minutes=11)
        document = await one.tick()
        assert document["runs"] == 1
        assert (await one.recent())[0]["cause"] == "catch_up"


async def test_a_clock_that_was_ahead_holds_no_job_up(tmp_path, clock):
    clock.turn(days=30)
    async with bench(tmp_path, clock, job(), job(name="nightly", schedule=Cron("30 3 * * *"))) as one:
        clock.turn(days=-30)
        one.scheduler.tick()
        assert parse(one.document()["next_run_at"]) <= clock.now() + timedelta(hours=1)
        assert parse(one.document("nightly")["next_run_at"]) <= clock.now() + timedelta(days=1)
        clock.turn(days=30)
        one.scheduler.tick()
        await one.ended()
        clock.turn(days=-30)
        one.scheduler.reschedule("full_sync", Every(60))
        assert parse(one.document()["next_run_at"]) <= clock.now() + timedelta(seconds=60)
    async with bench(tmp_path, clock, job()) as one:
        assert parse(one.document()["next_run_at"]) <= clock.now() + timedelta(hours=1)


async def test_a_pause_survives_restarts_and_nothing_is_caught_up_in_it(tmp_path, clock):
    async with bench(tmp_path, clock, job(at_start="always")) as one:
        await one.scheduler.set_paused("full_sync", paused=True)
    clock.turn(hours=9)
    async with bench(tmp_path, clock, job(at_start="always")) as one:
        document = await one.tick()
        assert (document["paused"], document["next_run_at"], document["runs"]) == (True, None, 0)
        document = await one.scheduler.set_paused("full_sync", paused=False)
        assert document["paused"] is False
        assert clock.now() < parse(document["next_run_at"]) <= clock.now() + timedelta(hours=1)
    async with bench(tmp_path, clock, job()) as one:
        assert one.document()["paused"] is False


async def test_a_paused_job_may_be_run_by_hand_and_stays_paused(tmp_path, clock):
    async with bench(tmp_path, clock, job()) as one:
        await one.scheduler.set_paused("full_sync", paused=True)
        document = await one.run()
        assert (document["paused"], document["next_run_at"], document["runs"]) == (True, None, 1)


async def test_a_job_that_goes_on_after_a_long_pause_runs_soon(tmp_path, clock):
    async with bench(tmp_path, clock, job()) as one:
        await one.run()
        await one.scheduler.set_paused("full_sync", paused=True)
        clock.turn(hours=9)
        await one.scheduler.set_paused("full_sync", paused=False)
        assert (await one.tick())["runs"] == 2


async def test_running_by_hand_leaves_the_schedule_alone(tmp_path, clock):
    async with bench(tmp_path, clock, job()) as one:
        due = one.document()["next_run_at"]
        clock.turn(minutes=50)
        assert (await one.run())["next_run_at"] == due


@pytest.mark.parametrize(("seconds", "minutes"), [(300.0, 5), (2 * HOUR, 120)])
async def test_another_interval_counts_from_the_last_run(tmp_path, clock, seconds, minutes):
    async with bench(tmp_path, clock, job()) as one:
        started = parse((await one.run())["last_run"]["started_at"])
        clock.turn(minutes=1)
        one.scheduler.reschedule("full_sync", Every(seconds))
        document = one.document()
        assert parse(document["next_run_at"]) == started + timedelta(minutes=minutes)
        assert document["schedule"] == str(Every(seconds))
        clock.turn(minutes=minutes)
        assert (await one.tick())["runs"] == 2
        assert parse(one.document()["next_run_at"]) > clock.now()
        await one.scheduler.set_paused("full_sync", paused=True)
        one.scheduler.reschedule("full_sync", Every(60))
        assert one.document()["next_run_at"] is None


async def test_a_run_by_hand_stands_in_for_the_one_that_is_due_after_the_start(tmp_path, clock):
    async with bench(tmp_path, clock, job(at_start="first"), spread=600.0) as one:
        await one.run()
        assert parse(one.document()["next_run_at"]) > clock.now() + timedelta(minutes=59)
        clock.turn(seconds=601)
        await one.tick()
        assert [run["cause"] for run in await one.recent()] == ["manual"]


async def test_another_interval_does_not_forget_what_was_missed(tmp_path, clock):
    async with bench(tmp_path, clock, job(at_start="first"), spread=600.0) as one:
        due = one.document()["next_run_at"]
        one.scheduler.reschedule("full_sync", Every(2 * HOUR))
        assert one.document()["next_run_at"] == due


async def test_a_shorter_interval_holds_after_a_restart(tmp_path, clock):
    async with bench(tmp_path, clock, job()):
        pass
    async with bench(tmp_path, clock, job(schedule=Every(60))) as one:
        assert parse(one.document()["next_run_at"]) <= clock.now() + timedelta(seconds=60)


async def test_only_the_last_runs_are_kept_newest_first(tmp_path, clock):
    def many(tx):
        at = clock.stamp()
        tx.jobs.put(JobState("other"), end_run(JobRunRow(0, "other", "manual", at), RunResult("done"), at, 0.5))
        for number in range(1, KEPT_RUNS + 20):
            begun = JobRunRow(number, "full_sync", "schedule", at)
            tx.jobs.put(JobState("full_sync"), end_run(begun, RunResult("done"), at, 0.5))
        tx.jobs.put(JobState("other"), end_run(JobRunRow(900, "other", "manual", at), RunResult("done"), at, 0.5))

    async with bench(tmp_path, clock, job(), job(name="other")) as one:
        await one.db.write(many)
        runs = await one.recent()
        assert [int(run["id"]) for run in runs] == list(range(KEPT_RUNS + 19, 19, -1))
        assert [run["id"] for run in await one.recent("other")] == ["900", "0"]
        rows = await one.db.read(lambda tx: tx.raw.execute("SELECT count(*) FROM job_runs").fetchone()[0])
        assert rows == KEPT_RUNS + 2
    async with bench(tmp_path, clock, job()) as one:
        assert (await one.scheduler.run_now("full_sync"))["running"]["id"] == "901"


async def test_a_disk_that_refuses_is_told_and_nothing_is_lost(tmp_path, clock):
    work = Work()
    async with bench(tmp_path, clock, job(work), job(name="retention")) as one:
        await one.scheduler.run_now("full_sync")
        await work.begun()
        await one.db.write(lambda tx: tx.raw.execute("PRAGMA query_only = 1") and None)
        with pytest.raises(UnavailableError):
            await one.scheduler.run_now("retention")
        with pytest.raises(UnavailableError):
            await one.scheduler.set_paused("full_sync", paused=True)
        assert one.document()["paused"] is False
        assert one.document()["next_run_at"] is not None
        work.end("12 read")
        await one.ended()
        assert (await one.recent())[0]["outcome"] == "done"
        assert one.outcome("retention") == "failed"
        await one.db.writer._connection.run(lambda raw: raw.execute("PRAGMA query_only = 0") and None)
    async with bench(tmp_path, clock, job(work), job(name="retention")) as one:
        assert one.document()["last_run"]["message"] == "12 read"
        assert [run["outcome"] for run in await one.recent()] == ["done"]
        assert one.outcome("retention") == "failed"


async def test_an_unknown_job_is_told_with_those_there_are(tmp_path, clock):
    async with bench(tmp_path, clock, job(), job(name="retention")) as one:
        for asked in (one.scheduler.run_now, one.scheduler.detail, one.scheduler.wait_until_idle):
            with pytest.raises(NotFoundError, match="no job 'nightly'; there are full_sync, retention"):
                await asked("nightly")
        with pytest.raises(ValueError, match="two jobs called retention"):
            one.scheduler.add(job(name="retention"))


async def test_a_job_that_is_gone_is_not_shown_and_does_not_stand_in_the_way(tmp_path, clock):
    work = Work()
    async with killed(tmp_path, clock, job(work, name="old")) as one:
        await one.scheduler.run_now("old")
        await work.begun()
    async with bench(tmp_path, clock, job()) as one:
        assert [found["id"] for found in one.scheduler.list_jobs()] == ["full_sync"]
        states = {state.name: state for state in await one.db.read(lambda tx: tx.jobs.states())}
        assert states["old"].last_outcome == "interrupted"


async def test_jitter_is_drawn_from_within_its_bound(monkeypatch):
    monkeypatch.setattr(scheduler, "random", random)
    moment = datetime(2026, 3, 4, 3, 0, tzinfo=UTC)
    for schedule, exact in ((Every(HOUR), moment.replace(hour=4)), (Cron("30 3 * * *"), moment.replace(minute=30))):
        assert next_time(schedule, moment) == exact
        drawn = {next_time(schedule, moment, 60.0) for _ in range(20)}
        assert len(drawn) > 1
        assert all(exact <= due <= exact + timedelta(seconds=60) for due in drawn)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Every(300), "every 5 min"), (Every(90), "every 90 s"), (Every(7200), "every 2 h"), (Every(86400), "every 1 d"),
        (Every(0.5), "every 0.5 s"), (Cron("5 4 * * *"), "daily at 04:05 UTC"),
        (Cron("*/5 * * * mon-fri"), "at */5 * * * mon-fri UTC"),
    ],
)  # fmt: skip
def test_a_schedule_is_told_in_words(schedule, words):
    assert str(schedule) == words


def test_a_schedule_that_cannot_be_is_refused():
    for seconds in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="above zero"):
            Every(seconds)
    with pytest.raises(ValueError, match="has 4 fields"):
        Cron("* * * *")
    with pytest.raises(ValueError, match="weekdays go by name"):
        Cron("0 3 * * 0")
    with pytest.raises(ValueError, match="never comes"):
        next_time(Cron("0 0 31 2 *"), datetime(2026, 1, 1, tzinfo=UTC))


OUTCOMES = ("done", "failed", "cancelled", "timed_out", "interrupted")


@given(st.lists(st.sampled_from(OUTCOMES)), st.booleans())
def test_the_books_of_a_job_add_up(outcomes, paused):
    at = stamp(datetime(2026, 3, 4, tzinfo=UTC))
    state = JobState("full_sync", paused=paused, next_due_at=None if paused else "later")
    for number, outcome in enumerate(outcomes):
        state = state_after(state, end_run(JobRunRow(number, "full_sync", "schedule", at), RunResult(outcome), at, 1.0))
    failed = [outcome in ("failed", "timed_out", "interrupted") for outcome in outcomes]
    assert (state.runs, state.failures) == (len(outcomes), sum(failed))
    since = outcomes[len(outcomes) - outcomes[::-1].index("done") :] if "done" in outcomes else outcomes
    assert state.consecutive_failures == sum(outcome != "cancelled" for outcome in since)
    assert (state.last_success_at is not None) == ("done" in outcomes)
    assert (state.next_due_at is None) == paused
