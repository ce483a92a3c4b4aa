"""Events as they happen: nothing missed, nothing twice, bounded."""

import json
from collections import deque
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail

from cmmd.fleet.events import Kind
from cmmd.fleet.history.journal import RECORD_S
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.web.api import event_broker as feed_module
from cmmd.web.api import streams
from cmmd.web.api.streams import HEARTBEAT_S, MOST_STREAMS_EACH
from cmmd.web.http.browser_sessions import IDLE_S
from tests.uploads import HGM6120N_PLAN, STANDBY, full_upload
from tests.web_world import Client, WebTestCase, WebWorld
from tests.world import HOSTID


class Message:
    def __init__(self, text: str) -> None:
        fields = dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith(":"))
        self.name, self.id = fields.get("event"), fields.get("id")
        self.data: Any = json.loads(fields["data"]) if "data" in fields else None


def messages(client: Client) -> list[Message]:
    return [Message(text) for text in client.stream().decode().split("\n\n") if text and text[0] != ":"]


def numbers(client: Client) -> list[int]:
    """Of the events that came."""
    return [one.data["number"] for one in messages(client) if one.name == "event"]


class _StreamTestCase(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.world.write_batch()
        self.before = self.world.fleet.events.last_number

    def open(self, query: str = "", **headers: str) -> Client:
        client = self.world.begin(
            "GET", f"/api/v1/events{query}", token=self.tokens["viewer"], Accept="text/event-stream", **headers
        )
        self.clock.advance(0)
        return client

    def happen(self, count: int = 1, hostid: str = HOSTID) -> None:
        """Events."""
        for _ in range(count):
            self.world.fleet.events.emit(Kind.COMMANDED, hostid, command=1, name="auto", requester="me", outcome="done")

    def tick(self, seconds: float = 0.2) -> None:
        self.clock.advance(seconds)
        self.clock.advance(0)


class EventTests(_StreamTestCase):
    def test_from_now_on(self) -> None:
        client = self.open()
        self.assertIn(b"Content-Type: text/event-stream", client.received)
        (ready,) = messages(client)
        self.assertEqual((ready.name, ready.data["columns"][1]), ("ready", "hostid"))
        self.happen(3)
        self.tick()
        self.assertEqual(numbers(client), [self.before + 1, self.before + 2, self.before + 3])
        self.happen()
        self.tick()
        self.assertEqual(numbers(client)[-1], self.before + 4)

    def test_comes_back(self) -> None:
        """Whatever was missed comes first, out of what is held or out of the store, and nothing comes twice."""
        for held in (5000, 3):
            self.patch(feed_module, "MOST_EVENTS", held)
            self.world.web.feed._events = type(self.world.web.feed._events)(self.world.web.feed._events, held)
            client = self.open()
            self.happen(2)
            self.tick()
            last = messages(client)[-1].id
            assert last is not None
            seen = numbers(client)
            client.transport.loseConnection()
            self.happen(10)
            self.world.world.write_batch()
            self.happen(2)
            again = self.open(Last_Event_ID=last)
            self.tick()
            self.happen(1)
            self.tick()
            self.assertEqual(numbers(again), list(range(seen[-1] + 1, seen[-1] + 14)), held)
            self.assertEqual([one for one in messages(again) if one.name == "missed"], [])

    def test_after_in_the_address(self) -> None:
        place = self.get("/fleet").json["place"]
        self.happen(2)
        client = self.open(f"?after={place}")
        self.tick()
        self.assertEqual(numbers(client), [self.before + 1, self.before + 2])

    def test_what_the_store_does_not_have_is_told(self) -> None:
        self.world.web.feed._events = type(self.world.web.feed._events)([], 3)
        self.world.world.store.write = lambda rows: Deferred()  # type: ignore[method-assign]
        self.happen(10)
        self.clock.advance(RECORD_S)
        client = self.open("?after=0.0")
        self.tick()
        missed = [one.data["count"] for one in messages(client) if one.name == "missed"]
        self.assertEqual(missed, [7])
        self.assertEqual(numbers(client)[-3:], list(range(self.before + 8, self.before + 11)))

    def test_a_place_of_the_future(self) -> None:
        """Of another daemon, or of a store that was put back: what has happened since that time."""
        at = int(self.clock.seconds() * 1000)
        client = self.open(f"?after={at}.{self.before + 100}")
        self.assertEqual([one.name for one in messages(client)], ["ready", "missed"])
        self.happen()
        self.tick()
        self.assertEqual(numbers(client), [self.before + 1])
        self.assertEqual(numbers(self.open(f"?after=1.{self.before + 100}")), list(range(1, self.before + 2)))

    def restart(self, store: MemoryStore) -> None:
        """Another daemon, a minute later, on the same store."""
        self.world = WebWorld(Path(self.mktemp()), store=store)
        now, self.clock = self.clock.seconds(), self.world.clock
        self.clock.advance(now + 60 - self.clock.seconds())
        self.tokens["viewer"] = self.world.tokens.add("viewer", "viewer")

    def test_numbers_that_others_have_got(self) -> None:
        """A reader was told what a power cut took. What has those numbers now is news to him."""
        for later, held in ((2, 5000), (4, 5000), (9, 5000), (9, 2), (9, 6)):
            store = MemoryStore()
            self.restart(store)
            self.happen(3)
            self.world.world.write_batch()
            write, store.write = store.write, lambda rows: Deferred()  # type: ignore[method-assign]
            reader = self.open()
            self.happen(4)
            self.clock.advance(RECORD_S)  # they are told as not recorded
            self.tick()
            self.assertEqual(numbers(reader), [4, 5, 6, 7])
            last = messages(reader)[-1].id
            store.write = write  # type: ignore[method-assign]
            self.restart(store)
            self.world.web.feed._events = deque(maxlen=held)
            self.happen(later)
            self.world.world.write_batch()
            again = self.open(Last_Event_ID=last or "")
            self.assertEqual([one.name for one in messages(again)][:2], ["ready", "missed"])
            self.assertEqual(numbers(again), list(range(4, 4 + later)), (later, held))
            place = messages(again)[1].id
            again = self.open(Last_Event_ID=place or "")
            self.assertEqual([one.name for one in messages(again)], ["ready", *["event"] * later])

    def test_the_store_is_away(self) -> None:
        """Then nobody knows whose a number was; what is held is told."""
        self.world.web.feed._events = deque(maxlen=5000)
        self.happen()
        place = self.world.web.feed.place
        self.world.web.feed._events.popleft()
        self.world.web.feed._begun = place
        self.happen(2)
        self.patch(self.world.world.store, "events", lambda _: fail(StoreUnavailable("away")))
        client = self.open(f"?after={place.at}.{place.number}")
        self.assertEqual(numbers(client), [place.number + 1, place.number + 2])

    def test_of_one_device(self) -> None:
        self.world.fleet.registry._devices["other"] = self.world.fleet.registry._devices[HOSTID]
        client = self.open("?hostid=other")
        self.happen(300)
        self.happen(1, "other")
        self.happen(1)
        self.tick()
        self.assertEqual(numbers(client), [self.before + 301])

    def test_commands(self) -> None:
        client = self.open("?commands=true")
        self.ask("POST", f"/devices/{HOSTID}/commands", {"kind": "reset"}, "operator")
        self.tick()
        self.world.sent[0].obeyed()
        self.tick()
        told = [one.data["outcome"] for one in messages(client) if one.name == "command"]
        self.assertEqual(told, [None, "done"])

    def test_heartbeat(self) -> None:
        client = self.open()
        before = len(client.stream())
        self.clock.advance(HEARTBEAT_S)
        self.assertEqual(client.stream()[before:], b": still here\n\n")
        self.clock.advance(HEARTBEAT_S)
        self.assertEqual(client.stream()[before:].count(b":"), 2)

    def test_who_is_too_slow_is_told_and_cut_off(self) -> None:
        self.world.web.feed._events = type(self.world.web.feed._events)([], 10)
        client = self.open()
        client.pause()
        self.happen(5)
        self.tick()
        self.happen(20)
        client.resume()
        self.tick()
        self.assertEqual(messages(client)[-1].name, "slow")
        self.assertTrue(client.received.endswith(b"0\r\n\r\n"))
        self.assertEqual(self.world.web.feed.watchers, ())

    def test_who_never_reads_is_cut_off(self) -> None:
        client = self.open()
        client.pause()
        self.clock.pump([1.0] * 61)
        self.assertTrue(client.transport.lost)
        self.assertEqual(self.world.web.feed.watchers, ())

    def test_who_goes_is_forgotten(self) -> None:
        client = self.open("?live=true")
        client.transport.loseConnection()
        self.assertEqual(self.world.web.feed.watchers, ())
        self.happen()
        self.tick(60)

    def test_ends_with_its_token(self) -> None:
        client = self.open()
        self.world.tokens.revoke("viewer")
        self.happen()
        self.tick(HEARTBEAT_S)
        self.assertEqual(numbers(client), [])
        self.assertTrue(client.received.endswith(b"0\r\n\r\n"))
        self.assertEqual(len(self.world.web.feed.watchers), 0)

    def test_ends_with_its_session(self) -> None:
        for end in (self.world.web.access.sign_ins.end, lambda _: self.clock.advance(IDLE_S + 1)):
            cookie, session = self.world.web.access.sign_ins.begin("viewer", self.world.tokens.read()[0].sha256)
            client = self.world.begin(
                "GET", "/api/v1/events", Accept="text/event-stream", Cookie=f"cmmd_session={cookie}"
            )
            self.tick(HEARTBEAT_S)
            self.assertFalse(client.received.endswith(b"0\r\n\r\n"))
            used = session.used
            end(cookie)
            self.tick(HEARTBEAT_S)
            self.assertTrue(client.received.endswith(b"0\r\n\r\n"))
            self.assertEqual(session.used, used)

    def test_too_many(self) -> None:
        for _ in range(MOST_STREAMS_EACH):
            self.open()
        answer = self.world.settle(self.open())
        assert answer is not None
        self.assertEqual((answer.status, answer.code), (429, "too_many_requests"))
        elsewhere = self.world.begin(
            "GET", "/api/v1/events", token=self.tokens["viewer"], Accept="text/event-stream", peer="192.0.2.9"
        )
        answer = self.world.settle(elsewhere)
        assert answer is not None
        self.assertEqual(answer.status, 429, "one token from several addresses is one caller")
        self.patch(streams, "MOST_STREAMS", MOST_STREAMS_EACH + streams.RESERVED)
        answer = self.world.ask("GET", "/api/v1/events", token=self.tokens["operator"], Accept="text/event-stream")
        self.assertEqual((answer.status, answer.code), (503, "too_many_connections"))
        admin = self.world.begin("GET", "/api/v1/events", token=self.tokens["admin"], Accept="text/event-stream")
        self.assertIsNone(self.world.settle(admin))
        self.assertIn(b" 200 OK", admin.received)

    def test_refused(self) -> None:
        for query, headers, field in (
            ("?after=x", {}, "query.after"),
            ("", {"Last_Event_ID": "x"}, "header.Last-Event-ID"),
            ("?since=1", {}, "query.since"),
            ("?until=1", {}, "query.until"),
            ("?limit=100", {}, "query.limit"),
            ("?order=desc", {}, "query.order"),
        ):
            answer = self.world.settle(self.open(query, **headers))
            assert answer is not None
            self.assertEqual((answer.status, answer.json["field"]), (400, field))
        answer = self.world.settle(self.open("?hostid=nobody"))
        assert answer is not None
        self.assertEqual(answer.code, "unknown_device")

    def test_the_daemon_stops(self) -> None:
        client = self.open()
        self.world.web.feed.stop()
        self.tick()
        self.assertTrue(client.received.endswith(b"0\r\n\r\n"))

    def test_a_list_has_nothing_live(self) -> None:
        for name in ("live", "commands"):
            self.assertEqual(self.get(f"/events?{name}=false").json["field"], f"query.{name}")

    def test_not_by_accident(self) -> None:
        self.assertEqual(self.get("/events", Accept="*/*").headers["content-type"], "application/json")


class LiveTests(_StreamTestCase):
    def rows(self, client: Client) -> list[dict[str, Any]]:
        columns = messages(client)[0].data["columns"]
        told = [one.data["rows"] for one in messages(client) if one.name == "live"]
        return [dict(zip(columns, row, strict=True)) for rows in told for row in rows]

    def upload(self, **registers: int) -> None:
        changed = {int(name[1:]): value for name, value in registers.items()}
        self.world.fleet.uploads.full(full_upload({**STANDBY, **changed}), HGM6120N_PLAN, historic=False)

    def test_a_row_a_second(self) -> None:
        client = self.open("?live=true")
        for load in range(5):
            self.upload(_55=load)
        self.tick(1)
        self.tick()
        (row,) = self.rows(client)
        self.assertEqual((row["hostid"], row["load"], row["state"], row["mode"]), (HOSTID, 4, "standby", "auto"))
        self.upload(_55=4)
        self.tick(1)
        self.tick()
        self.assertEqual(len(self.rows(client)), 1)  # nothing new
        self.clock.advance(15)
        self.upload(_55=4)
        self.tick(1)
        self.tick()
        self.assertEqual(len(self.rows(client)), 2)  # but its time

    def test_of_one_device_every_upload(self) -> None:
        client = self.open(f"?live=true&hostid={HOSTID}")
        for expected in (1, 2):
            self.upload()
            self.tick(1)
            self.tick()
            self.assertEqual([row["upload"] for row in self.rows(client)][-1], expected)

    def test_what_happens_changes_rows(self) -> None:
        client = self.open("?live=true")
        self.world.fleet.presence.detach(HOSTID, self.world.session)
        self.tick(1)
        self.tick()
        self.assertEqual([row["state"] for row in self.rows(client)], ["offline"])

    def test_who_comes_and_goes_more_often_than_events_tell(self) -> None:
        client = self.open("?live=true")
        presence, session = self.world.fleet.presence, self.world.session
        for _ in range(30):
            presence.detach(HOSTID, session)
            self.tick(1)
            presence.attach(HOSTID, session)
            self.tick(1)
        presence.detach(HOSTID, session)
        self.tick(1)
        self.tick(1)
        self.assertLess(len([one for one in messages(client) if one.name == "event"]), 61)
        self.assertEqual(self.rows(client)[-1]["state"], "offline")

    def test_who_is_slow_gets_the_newest(self) -> None:
        client = self.open("?live=true")
        client.pause()
        for load in range(5):
            self.upload(_55=load)
            self.tick(1)
        client.resume()
        self.tick(1)
        self.tick()
        self.assertEqual(self.rows(client)[-1]["load"], 4)
        self.assertLess(len(self.rows(client)), 4)

    def test_nobody_watches(self) -> None:
        self.upload()
        self.open()
        self.assertIsNone(self.world.web.feed._end_uploads)
        client = self.open("?live=true")
        self.assertIsNotNone(self.world.web.feed._end_uploads)
        client.transport.loseConnection()
        self.assertIsNone(self.world.web.feed._end_uploads)
