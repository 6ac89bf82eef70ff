"""Gaps: outages and the three clocks in words, and finding the webhook before an event (design promise 4)."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.clock import parse, stamp
from flexportd.core import outages
from flexportd.core.labels import format_duration, time_text
from flexportd.core.outages import DeliverySignals, Detection, EventRate, assess, detection, event_rate, summarise
from flexportd.ingest.event_store import IncomingEvent, store_polled, store_webhook
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.events import ReceivedEvent
from flexportd.storage.repositories.gaps import NOT_OFFERED, Gap, OutageSummary, Poll
from flexportd.storage.repositories.items import EVENTS, WEBHOOK
from flexportd.storage.transaction import Transaction

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
NEWEST_FIRST = PageRequest(100, "outage")


def at(time: str) -> str:
    """Today at `14:02`."""
    return f"2026-03-04T{time}:00.000Z"


# --- the clocks ---

EVERY_12_MIN = EventRate(720.0, 9 * 3600.0)
USUAL = DeliverySignals(
    listening_since="2026-01-01T00:00:00.000Z", last_webhook_at=at("14:55"), last_upstream_at=at("14:55"),
    event_rate=EVERY_12_MIN, polled_at=at("14:59"),
)  # fmt: skip


WORKING = Detection("working", "It lacks none")


def having(**fields) -> DeliverySignals:
    names = (name for name in DeliverySignals.__dataclass_fields__)
    return DeliverySignals(**{name: getattr(USUAL, name) for name in names} | fields)


@pytest.mark.parametrize(
    ("clocks", "verdict", "sentence"),
    [
        (USUAL, "arriving", "Webhooks are arriving; last one 5 min ago"),
        (
            having(last_webhook_at=at("14:02"), down_since=at("14:02"), missed=17),
            "broken",
            "No webhooks since 14:02 UTC: 17 events arrived only by polling",
        ),
        (
            having(down_since="2026-03-03T14:02:00.000Z", missed=1),
            "broken",
            "No webhooks since 3 Mar 14:02 UTC: 1 event arrived only by polling",
        ),
        (
            having(last_webhook_at=None, missed=3),
            "never_received",
            "No webhook has ever arrived; 3 events arrived only by polling. Check that the endpoint is registered in Flexport",
        ),
        (
            # Every event of the outage is known to none but polling, yet a webhook did come once: late.
            having(last_webhook_at=at("13:00"), missed=3),
            "broken",
            "No webhooks since 13:00 UTC: 3 events arrived only by polling",
        ),
        (
            having(last_webhook_at=at("13:40"), last_upstream_at=at("13:40")),
            "idle",
            "No webhooks and no events at Flexport since 13:40 UTC (typical interval 12 min)",
        ),
        (
            having(last_webhook_at=at("13:40"), last_upstream_at=at("13:40"), event_rate=EventRate(720.0, 3600.0)),
            "unusually_quiet",
            "Unusually quiet: no webhooks and no events at Flexport since 13:40 UTC "  # noqa: ISC004 (one sentence)
            "(typical interval 12 min, longest 60 min)",
        ),
        (
            having(last_webhook_at=None, last_upstream_at=None, event_rate=None, listening_since=at("09:00")),
            "idle",
            "No webhooks and no events at Flexport since 09:00 UTC (typical interval not known yet)",
        ),
        (having(event_rate=None, last_webhook_at="2026-03-03T16:00:00.000Z", last_upstream_at=None), "arriving", None),
        (having(event_rate=None, last_webhook_at="2026-03-03T14:00:00.000Z", last_upstream_at=None), "idle", None),
        # A rhythm of seconds makes no alarm of minutes.
        (having(event_rate=EventRate(1.0, 2.0), last_webhook_at=at("14:51"), last_upstream_at=None), "arriving", None),
        (
            having(polled_at=None),
            "not_polled",
            "Last webhook 5 min ago. Lost webhooks cannot be detected before the first poll",
        ),
        (
            DeliverySignals(),
            "not_polled",
            "No webhooks yet. Lost webhooks cannot be detected before the first poll",
        ),
        (
            having(failing_since=at("14:30"), failure="503 from /events"),
            "polling_failed",
            "Polling Flexport has failed since 14:30 UTC: 503 from /events",
        ),
        (
            having(failing_since=at("14:30"), failure="503 from /events", polled_at=None),
            "polling_failed",
            "Polling Flexport has failed since 14:30 UTC: 503 from /events",
        ),
        (
            having(failing_since=at("14:30"), failure="503", down_since=at("14:02"), missed=2),
            "broken",
            "No webhooks since 14:02 UTC: 2 events arrived only by polling. "  # noqa: ISC004 (one sentence)
            "Polling Flexport has failed since 14:30 UTC: 503",
        ),
    ],
)  # fmt: skip
def test_each_silence_has_its_own_sentence(clocks, verdict, sentence):
    found = assess(clocks, NOW, WORKING)
    assert found[0] == verdict
    if sentence is not None:
        assert found[1] == sentence


def test_what_should_worry_somebody_does():
    assert {"broken", "never_received", "unusually_quiet", "polling_failed"} == outages.PROBLEM_VERDICTS


def test_a_rhythm_needs_ten_pauses_and_counts_a_burst_once():
    steady = [stamp(NOW + timedelta(minutes=12 * n)) for n in range(11)]
    assert event_rate(steady) == EventRate(720.0, 720.0)
    assert event_rate(steady[:-1]) is None
    bursts = [stamp(parse(moment) + timedelta(milliseconds=ms)) for moment in steady for ms in (0, 3, 900)]
    assert event_rate(random.Random(1).sample(bursts, len(bursts))) == EventRate(720.0, 720.0)
    assert event_rate([*steady, stamp(NOW + timedelta(minutes=120 + 600))]) == EventRate(720.0, 36_000.0)


def test_words_for_times():
    assert time_text(at("14:02"), NOW) == "14:02 UTC"
    assert time_text("2026-03-03T23:59:59.999Z", NOW) == "3 Mar 23:59 UTC"
    assert time_text("2025-03-03T23:59:59.999Z", NOW) == "3 Mar 2025 23:59 UTC"
    assert [format_duration(seconds) for seconds in (0, 89, 90, 720, 7199, 7200, 86_400, 259_200)] == [
        "0 s", "89 s", "2 min", "12 min", "120 min", "2 h", "24 h", "3 d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("polls", "expected"),
    [
        ([], (None, None)),
        ([Poll("wide", good_at=at("14:00")), Poll("narrow", good_at=at("14:58"))], (None, None)),
        (
            [Poll("narrow", good_at=at("14:00"), failing_since=at("14:02"), failed_at=at("14:58"), failure="503")],
            (at("14:02"), "503"),
        ),
        # Another span was read since: Flexport can be asked.
        (
            [
                Poll("narrow", good_at=at("14:59")),
                Poll("deep", failing_since=at("02:15"), failed_at=at("02:15"), failure="cut"),
            ],
            (None, None),
        ),
        (
            [
                Poll("narrow", failing_since=at("14:02"), failed_at=at("14:58"), failure="503"),
                Poll("wide", good_at=at("14:10")),
            ],
            (at("14:10"), "503"),
        ),
    ],
)
def test_since_when_flexport_cannot_be_asked(polls, expected):
    assert outages.poll_failure(polls) == expected


# --- outages in words ---


def outage(**fields) -> OutageSummary:
    usual = {
        "after_seq": 5, "deaf_since": at("14:02"), "events": 17, "first_created_at": at("14:05"),
        "last_created_at": at("14:50"), "first_noticed_at": at("14:06"), "last_noticed_at": at("14:52"), "late": 0,
        "waiting": 0, "dead": 0,
    }  # fmt: skip
    return OutageSummary(**usual | fields)


@pytest.mark.parametrize(
    ("found", "ended_at", "sentence"),
    [
        (outage(), None, "No webhooks since 14:02 UTC: 17 events recovered by polling"),
        (outage(), at("14:58"), "No webhooks from 14:02 UTC to 14:58 UTC (56 min): 17 events recovered by polling"),
        (
            outage(late=2),
            at("14:58"),
            "No webhooks from 14:02 UTC to 14:58 UTC (56 min): 17 events recovered by polling; 2 arrived later by webhook",
        ),
        (
            outage(events=1),
            at("14:10"),
            "One webhook was lost between 14:02 UTC and 14:10 UTC: its event was recovered by polling at 14:06 UTC",
        ),
        (
            outage(events=1, late=1),
            at("14:10"),
            "One webhook was late between 14:02 UTC and 14:10 UTC: its event was recovered by polling at 14:06 UTC",
        ),
        (outage(events=1), None, "No webhooks since 14:02 UTC: 1 event recovered by polling"),
        (
            outage(after_seq=0, deaf_since=None),
            None,
            "No webhook has ever arrived: 17 events recovered by polling",
        ),
        (
            outage(after_seq=0, deaf_since=None),
            at("14:58"),
            "No webhooks before 14:58 UTC: 17 events recovered by polling",
        ),
    ],
)
def test_an_outage_says_what_it_was(found, ended_at, sentence):
    assert summarise(found, ended_at, {}, NOW).sentence == sentence


def test_an_outage_lasts_until_the_first_webhook_after_it_or_until_now():
    assert summarise(outage(), at("14:58"), {}, NOW).seconds == 56 * 60
    assert summarise(outage(), None, {}, NOW).seconds == 58 * 60
    assert summarise(outage(deaf_since=None, after_seq=0), None, {}, NOW).seconds == 55 * 60
    # A later event's webhook may have been the first to come.
    assert summarise(outage(), at("14:01"), {}, NOW).until == at("14:02")


def test_what_waits_or_is_dead_is_not_repaired():
    assert summarise(outage(waiting=3, dead=1), None, {}, NOW).repaired == 13


# --- the store ---


class Store:
    """Events by webhook and by polling in a database, each recorded at a second of its own."""

    def __init__(self, path) -> None:
        migrate(path)
        self.raw = open_writer(path)
        self.tx = Transaction(self.raw)
        self.raw.execute("BEGIN")  # never committed: the disk is not what is tested

    def begin_anew(self) -> None:
        self.raw.execute("ROLLBACK")
        self.tx.reset()
        self.raw.execute("BEGIN")

    def moment(self, second: int) -> str:
        return stamp(NOW + timedelta(seconds=second))

    def webhooks(self, *seconds: int, delay: float = 0.2) -> None:
        for second in seconds:
            came = stamp(NOW + timedelta(seconds=second + delay))
            store_webhook(
                self.tx, [IncomingEvent(ReceivedEvent(str(second), "/shipment#created", "webhook", came, "{}", b"{}"))]
            )
            self.raw.execute(
                "UPDATE events SET state = 'applied', ended_at = ?, created_at = ? WHERE id = ?",
                (came, self.moment(second), str(second)),
            )

    def notice(self, second: int, *seconds: int) -> None:
        if not seconds:
            return
        when = self.moment(second)
        found = [
            IncomingEvent(ReceivedEvent(str(one), "/shipment#created", "events", when, "{}", b"{}")) for one in seconds
        ]
        seqs = store_polled(self.tx, found)
        self.tx.gaps.add(
            when,
            [
                Gap(seq, str(one), "/shipment#created", self.moment(one), None, None, None, None)
                for seq, one in zip(seqs, seconds, strict=True)
                if seq is not None
            ],
        )

    def ended(self) -> None:
        """A poll has come to its end."""
        self.tx.gaps.set_listening_since(self.moment(-10_000_000))
        self.tx.gaps.observe(None, None)

    def runs(self) -> list[tuple[int | None, list[int]]]:
        """The outages, oldest first: the webhook before, and the gaps."""
        found: dict[int, tuple[int | None, list[int]]] = {}
        sql = (
            "SELECT g.after_seq, g.event_id, e.id FROM gaps g LEFT JOIN events e ON e.seq = g.after_seq "
            "ORDER BY g.created_at"
        )
        for after, event_id, before in self.raw.execute(sql):
            found.setdefault(after, (None if before is None else int(before), []))[1].append(int(event_id))
        return sorted(found.values(), key=lambda run: run[1])

    def until(self) -> list[str | None]:
        """When each outage ended, newest first."""
        return [self.tx.gaps.ended_at(one) for one in self.tx.gaps.outages(NEWEST_FIRST)]


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "x.db")
    yield found
    found.raw.close()


def test_gaps_are_told_apart_by_the_webhooks_between_them(store):
    store.webhooks(10, 20, 60)
    store.notice(70, 5, 12, 14, 65, 61, 30)
    assert store.runs() == [(None, [5]), (10, [12, 14]), (20, [30]), (60, [61, 65])]
    assert store.until() == [
        None,
        store.moment(60)[:-4] + "200Z",
        store.moment(20)[:-4] + "200Z",
        store.moment(10)[:-4] + "200Z",
    ]


def test_the_webhook_before_is_found_anywhere_in_a_large_store(store):
    seconds = random.Random(4).sample(range(0, 40_000, 2), 8000)
    delivered, lost = sorted(seconds[:6000]), sorted(second + 1 for second in seconds[6000:])
    store.webhooks(*delivered)
    store.ended()
    found = [*lost]
    random.Random(5).shuffle(found)
    for begin in range(0, len(found), 200):
        store.notice(50_000 + begin, *found[begin : begin + 200])
    expected: dict[int | None, list[int]] = {}
    for second in lost:
        before = max((one for one in delivered if one < second), default=None)
        expected.setdefault(before, []).append(second)
    assert store.runs() == sorted(expected.items(), key=lambda run: run[1])


def test_a_long_outage_is_one_outage_however_many_polls_it_takes(store):
    store.webhooks(0, 10)
    second = 20
    for _ in range(30):
        store.notice(second + 100, *range(second, second + 100))
        store.ended()
        second += 100
    assert store.runs() == [(10, list(range(20, 3020)))]
    assert store.until() == [None]
    # An older one, noticed late, still goes to its own place.
    store.notice(second + 200, 5)
    assert store.runs()[0] == (0, [5])
    store.webhooks(second + 300)
    assert store.until()[0] == store.moment(second + 300)[:-4] + "200Z"


def test_a_gap_far_back_in_a_long_outage_belongs_to_it(store):
    store.webhooks(0, 10)
    for begin in range(20, 3020, 100):
        store.notice(begin + 150, *(second for second in range(begin, begin + 100) if second != 2015))
    store.webhooks(4000)
    store.ended()
    store.notice(5000, 2015)
    assert store.runs() == [(10, list(range(20, 3020)))]


def test_history_that_polling_brought_hides_no_webhook(store):
    store.webhooks(0, 10)
    store.ended()
    for place in range(20):
        found = [f"history-{place}-{number}" for number in range(100)]
        arrivals = [ReceivedEvent(name, "t", "events", store.moment(15 + place), "{}", b"{}") for name in found]
        store_polled(store.tx, [IncomingEvent(arrival) for arrival in arrivals])
    store.notice(60, 50)
    assert store.runs() == [(10, [50])]


def test_what_polling_found_waits_for_what_webhooks_bring(store):
    store.notice(70, 5)
    store.webhooks(80)
    found = store.raw.execute("SELECT e.source, i.priority FROM items i JOIN events e ON e.seq = i.ref ORDER BY 2")
    assert found.fetchall() == [("webhook", WEBHOOK), ("events", EVENTS)]


def test_an_outage_without_any_webhook_before_stays_one(store):
    for begin in range(0, 3000, 100):
        store.notice(begin + 150, *range(begin, begin + 100))
        store.ended()
    assert store.runs() == [(None, list(range(3000)))]
    assert store.until() == [None]
    assert store.tx.gaps.newest_webhook() is None


def test_events_recorded_in_the_same_instant_do_not_end_their_outage(store):
    store.webhooks(10)
    found = [IncomingEvent(ReceivedEvent("11", "t", "events", store.moment(70), "{}", b"{}"))]
    (seq,) = store_polled(store.tx, found)
    store.tx.gaps.add(store.moment(70), [Gap(seq, "11", "t", store.moment(10), None, None, None, None)])
    assert store.until() == [None]


def test_a_webhook_that_overtook_another_ends_the_outage_between_them(store):
    store.webhooks(7)
    store.webhooks(3, delay=5)
    store.notice(20, 5)
    assert store.runs() == [(3, [5])]
    assert store.until() == [store.moment(7)[:-4] + "200Z"]


def test_a_late_delivery_ends_an_outage_and_one_on_time_was_none(store):
    store.webhooks(0)
    store.notice(400, 10, 20, 395)
    store.tx.gaps.mark_delivered(store.moment(450), ["395", "999"])
    (found,) = store.tx.gaps.outages(NEWEST_FIRST)
    assert (found.events, found.late) == (2, 0)  # polling was only quicker
    store.tx.gaps.mark_delivered(store.moment(500), ["10"])
    store.tx.gaps.mark_delivered(store.moment(900), ["10"])
    (found,) = store.tx.gaps.outages(NEWEST_FIRST)
    assert (found.events, found.late) == (2, 1)
    assert store.until() == [store.moment(450)]
    assert store.tx.gaps.last_delivery_at() == store.moment(500)
    rows = {row["event_id"]: row for row in store.tx.gaps.page(PageRequest(10, "seq"))}
    assert [rows[name]["delivered_at"] for name in ("10", "20", "395")] == [store.moment(500), None, store.moment(450)]


def test_the_path_may_break_again_after_a_late_delivery(store):
    store.webhooks(0)
    store.notice(400, 10)
    store.tx.gaps.mark_delivered(store.moment(500), ["10"])
    assert store.until() == [store.moment(500)]
    store.notice(800, 700)
    assert store.until() == [None]
    found = outages.delivery_signals(store.tx)
    assert (found.missed, found.down_since, found.last_webhook_at) == (
        1,
        store.moment(0)[:-4] + "200Z",
        store.moment(500),
    )


def test_duplicates_of_webhooks_touch_no_gap_and_new_ones_do_not_look(store):
    store.webhooks(1)
    store.notice(400, 2)
    seen: list[str] = []
    store.raw.set_trace_callback(seen.append)
    store.webhooks(3)
    assert not [sql for sql in seen if "gaps" in sql]
    store.webhooks(1)
    store.raw.set_trace_callback(None)
    assert len([sql for sql in seen if "UPDATE gaps" in sql]) == 1
    assert store.raw.execute("SELECT count(*) FROM gaps WHERE delivered_at IS NOT NULL").fetchone() == (0,)


def test_outages_come_in_pages(store):
    store.webhooks(*range(0, 100, 10))
    store.notice(200, *range(5, 100, 10))
    first = store.tx.gaps.outages(PageRequest(4, "outage"))
    assert len(first) == 5
    rest = store.tx.gaps.outages(PageRequest(100, "outage", after=(None, first[3].after_seq)))
    assert [one.first_created_at for one in first[:4] + rest] == [store.moment(n) for n in range(95, 0, -10)]


def test_the_queries_of_the_way_of_a_webhook_and_of_polling_scan_no_table(store):
    sql = store.tx.gaps._sql
    for name in (
        "known",
        "record_delivered",
        "newest_webhook",
        "last",
        "webhooks_between",
        "gap_before",
        "delivery_after",
        "newest_outage",
        "types",
    ):
        parameters = sql[name].count("?") if "?1" not in sql[name] else 2
        for row in store.raw.execute("EXPLAIN QUERY PLAN " + sql[name], ("[]",) * parameters):
            assert not (row[3].startswith("SCAN") and "VIRTUAL TABLE" not in row[3] and "INDEX" not in row[3]), (
                name,
                row,
            )


def test_every_named_query_of_gaps_is_used():
    import inspect

    from flexportd.storage.repositories import gaps as module
    from flexportd.storage.statements import queries

    source = inspect.getsource(module)
    assert [name for name in queries("gaps") if f'"{name}"' not in source] == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    found = Store(tmp_path_factory.mktemp("gaps") / "x.db")
    yield found
    found.raw.close()


@given(st.lists(st.integers(0, 60), unique=True), st.lists(st.integers(0, 60), unique=True), st.randoms())
def test_whatever_arrived_in_whatever_order_outages_are_the_runs_between_webhooks(shared, evens, odds, dice):
    shared.begin_anew()
    delivered, lost = [second * 2 for second in evens], [second * 2 + 1 for second in odds]
    came = list(delivered)
    dice.shuffle(came)
    for place, second in enumerate(came):
        shared.webhooks(second, delay=200 + place - second)
    left = list(lost)
    while left:
        some = dice.sample(left, dice.randint(1, len(left)))
        left = [second for second in left if second not in some]
        shared.notice(1000, *some)
        if dice.random() < 0.5:
            shared.ended()
    expected: dict[int | None, list[int]] = {}
    for second in sorted(lost):
        before = max((one for one in delivered if one < second), default=None)
        expected.setdefault(before, []).append(second)
    assert shared.runs() == sorted(expected.items(), key=lambda run: run[1])
    goes_on = bool(lost) and max(lost) > max(delivered, default=-1)
    assert sum(until is None for until in shared.until()) == goes_on


# --- whether gaps can be seen ---


def polled(span="wide", *, compared=0, lacking=0, read=0, when="14:00", **fields):
    counts = {"compared": compared, "lacking": lacking, "read": read}
    if compared:
        fields |= {"compared_at": at(when)}
    if lacking:
        fields |= {"lacking_types": json.dumps({"/booking#created": lacking}), "lacking_at": at("13:40")}
    return Poll(span, "s", "u", None, at(when), **counts, **fields)


@pytest.mark.parametrize(
    ("polls", "state", "words"),
    [
        ([], "not_polled", "has not been read yet"),
        (
            [Poll("narrow", failing_since=at("14:00"), failed_at=at("14:00"), failure="503")],
            "not_polled",
            "not been read yet",
        ),
        (
            [Poll("narrow", failing_since=at("14:00"), failed_at=at("14:00"), failure=f"{NOT_OFFERED}: 403")],
            "unavailable",
            NOT_OFFERED,
        ),
        (
            [polled(), polled("narrow", failed_at=at("14:30"), failure=f"{NOT_OFFERED}: 404")],
            "unavailable",
            NOT_OFFERED,
        ),
        ([polled(read=0)], "unconfirmed", "is empty, and no webhook event is available for comparison"),
        ([polled(read=3)], "working", "none is known to be missing from it"),
        ([polled(read=3, compared=3)], "working", "contains all of the latest 3 events received by webhook"),
        (
            [polled(compared=12, lacking=12)],
            "all_missing",
            "webhooks delivered 12 events (latest 13:40 UTC), but Flexport's event list is empty",
        ),
        ([polled(read=9, compared=1, lacking=1)], "all_missing", "delivered 1 event (latest 13:40 UTC), but"),
        (
            [polled(read=9, compared=12, lacking=2)],
            "incomplete",
            "lacks 2 of the latest 12 events received by webhook (2 /booking#created)",
        ),
        # The worst of what is known counts, until a poll that reaches as far back says otherwise.
        ([polled("narrow", compared=2, when="14:30"), polled(read=9, compared=12, lacking=2)], "incomplete", None),
        ([polled("narrow", compared=2, lacking=2, when="14:30"), polled(read=9, compared=12)], "all_missing", None),
        ([polled("narrow", compared=2, lacking=2, when="13:30"), polled(read=9, compared=12)], "working", None),
        ([polled("deep", compared=2, lacking=2, when="13:30"), polled(read=9, compared=12)], "all_missing", None),
    ],
)
def test_whether_gaps_can_be_seen(polls, state, words):
    found = detection(polls, NOW)
    assert (found.state, (words or "") in found.sentence) == (state, True), found.sentence


def test_the_sentence_of_the_clocks_does_not_say_more_than_is_known():
    blind = detection([polled(compared=12, lacking=12)], NOW)
    assert assess(USUAL, NOW, blind) == ("arriving", f"Webhooks are arriving; last one 5 min ago. {blind.sentence}")
    assert outages.DeliveryHealth(USUAL, *assess(USUAL, NOW, blind), blind).needs_attention
    unknown = detection([polled()], NOW)
    quiet = having(last_webhook_at=None, last_upstream_at=None, event_rate=None, listening_since=at("09:00"))
    verdict, sentence = assess(quiet, NOW, unknown)
    assert (verdict, "cannot be ruled out" in sentence) == ("idle", True)
    assert not outages.DeliveryHealth(quiet, verdict, sentence, unknown).needs_attention
