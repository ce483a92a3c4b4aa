"""``cmmd.gateway.link.acknowledgements``: what looks like an order that was answered is none, unless it stops."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from cmmd.gateway.link.acknowledgements import AT_ONCE_S, MOST_REMEMBERED, RESET_S
from tests.scripted_server import RESET, Accepted, Reply, run
from tests.support import compact, load_cases
from tests.test_gateway_link import LinkTestCase

AUTO, STOP = "00050003FF007DEB", "00050001FF00DC2B"
SPACED_STOP = "00 05 00 01 FF 00 DC 2B"
OK = {"message": "OK", "retcode": "000000"}
BARE: dict[str, Any] = {"method": "writeConfig", "result": AUTO, "datatype": 1}
WITH_UID = {**BARE, "uid": "action"}
STOP_ORDER = {**WITH_UID, "result": STOP}
PORT: dict[str, Any] = {"method": "writeConfig", "modulePort": 2, "moduleBaud": 0, "datatype": 1}


class AcknowledgementTestCase(LinkTestCase):
    def prepare(self, seed: int = 1, **options: Any) -> None:
        super().prepare(seed, **options)
        self.source.obey = lambda frame: True
        self.source.stops = {STOP, SPACED_STOP}
        self.source.port_works = True

    def send(self, live: Accepted, message: dict[str, Any], seconds: float = 1.0) -> None:
        live.send(message)
        run(self.clock, seconds)

    def counts(self, live: Accepted) -> tuple[int, int]:
        """How many writes there were, and how many answers."""
        return len(self.source.written), len(live.of("writeConfig"))


class LoopTests(AcknowledgementTestCase):
    """A server that acknowledges each answer: half a minute."""

    def hold(self, order: dict[str, Any], merged: bool = False) -> Accepted:
        def acknowledge(connection: Accepted) -> Reply:
            return {**order, **connection.received[-1]} if merged else {**order, **OK}

        self.prepare()
        self.server.replies["writeConfig"] = acknowledge
        live = self.attached(1)
        self.send(live, order, 30)
        self.assertFalse(live.gone)
        self.stop()
        return live

    def test_the_order_sent_back_with_a_code(self) -> None:
        for order in (BARE, WITH_UID, {**BARE, **OK}, {**WITH_UID, **OK}, {**WITH_UID, "retcode": 0, "packetnum": 1}):
            for latency in (0.0, 0.01, 3.0, 6.0):
                with self.subTest(order=order, latency=latency):
                    self.server.latency = latency
                    self.assertEqual(self.counts(self.hold(order)), (1, 1))

    def test_the_answer_merged_into_the_order(self) -> None:
        for order in (BARE, WITH_UID, {**WITH_UID, **OK}):
            self.assertEqual(self.counts(self.hold(order, merged=True)), (1, 1))
        self.assertEqual(len(self.hold(PORT, merged=True).of("writeConfig")), 1)
        self.assertEqual(len(self.source.ports), 1)

    def test_a_port_sent_back_with_a_code(self) -> None:
        for order in (PORT, {**PORT, **OK}, {**PORT, "uid": "7"}):
            self.assertEqual(len(self.hold(order).of("writeConfig")), 1)
            self.assertEqual(len(self.source.ports), 1)

    def test_a_stop_is_repeated_and_answered_once_more(self) -> None:
        for order in ({**BARE, "result": STOP}, {**WITH_UID, "result": STOP}, {**BARE, "result": STOP, **OK}):
            for latency in (0.0, 3.0, 6.0):
                with self.subTest(order=order, latency=latency):
                    self.server.latency = latency
                    self.assertEqual(self.counts(self.hold(order)), (3, 2))

    def test_a_text_in_place_of_frames(self) -> None:
        for uid in ({}, {"uid": "7"}):
            self.prepare()
            self.server.replies["writeConfig"] = {"method": "writeConfig", "result": "OK", "datatype": 1, **uid}
            live = self.attached(1)
            self.send(live, {**BARE, **uid}, 30)
            self.assertEqual(self.counts(live), (1, 1))
            self.stop()


class OrderTests(AcknowledgementTestCase):
    def test_a_coded_one_counts_again_a_little_later(self) -> None:
        live = self.attached(1)
        for order in ({**BARE, **OK}, {**WITH_UID, **OK}):
            written = len(self.source.written)
            for after_s in (AT_ONCE_S - 0.5, AT_ONCE_S, AT_ONCE_S):
                self.send(live, order, after_s)
            self.assertEqual(len(self.source.written), written + 2)

    def test_without_a_code_each_one_is_an_order(self) -> None:
        live = self.attached(1)
        for _ in range(3):
            self.send(live, WITH_UID)
        self.assertEqual(self.counts(live), (3, 3))

    def test_copies_in_one_segment_are_orders(self) -> None:
        live = self.attached(1)
        live.send(compact({**WITH_UID, **OK}) * 3)
        run(self.clock, 5)
        self.assertEqual(self.counts(live), (3, 3))

    def test_as_many_acknowledgements_as_slow_answers(self) -> None:
        """Two equal orders, of which the second one waits for the first: two writes, however late both acknowledge."""
        writes: list[Deferred[bool]] = []

        def obey(frame: str) -> Deferred[bool]:
            writes.append(Deferred())
            return writes[-1]

        self.source.obey = obey
        live = self.attached(1)
        self.send(live, {**WITH_UID, **OK})
        self.send(live, {**WITH_UID, **OK})
        writes[0].callback(True)
        run(self.clock, 1)
        writes[1].callback(True)
        for _ in range(2):
            run(self.clock, 30)
            self.send(live, {**WITH_UID, **OK})
        self.assertEqual(self.counts(live), (2, 2))

    def test_what_is_ignored_is_logged_once(self) -> None:
        live = self.attached(1)
        self.send(live, {**WITH_UID, **OK})
        with capturedLogs() as events:
            for _ in range(3):
                self.send(live, {**WITH_UID, **OK}, 0.5)
        self.assertEqual([event.get("order") for event in events if "order" in event], [repr(AUTO)])

    def test_on_the_next_session(self) -> None:
        live = self.attached(1)
        self.send(live, {**BARE, **OK}, 0.1)
        live.lose()
        run(self.clock, 3)
        self.assertIsNot(self.server.last, live)
        self.send(self.server.last, {**BARE, **OK})
        self.assertEqual(self.counts(self.server.last), (1, 0))

    def test_what_is_one_by_its_form_is_logged_once(self) -> None:
        live = self.attached(1)
        with capturedLogs() as events:
            for uid in ("1", "2"):
                self.send(live, {**BARE, "uid": uid, "params": f"{AUTO},1"})
                self.send(live, {**BARE, "uid": uid, "retcode": "000009"})
        self.assertEqual(self.counts(live), (0, 0))
        self.assertEqual([event["said"] for event in events if "said" in event], [repr(AUTO)])

    def test_so_many_are_remembered(self) -> None:
        live = self.attached(1)
        for number in range(MOST_REMEMBERED + 1):
            live.send({**BARE, "uid": str(number)})
            self.clock.advance(0)
        run(self.clock, 5)
        self.send(live, {**BARE, "uid": "0", **OK})
        self.assertEqual(len(self.source.written), MOST_REMEMBERED + 2)


class StopTests(AcknowledgementTestCase):
    def test_with_a_code_after_one_without(self) -> None:
        for after_s in (0.5, 20.0, 600.0):
            self.prepare()
            live = self.attached(1)
            self.send(live, STOP_ORDER, after_s)
            self.send(live, {**STOP_ORDER, **OK})
            self.assertEqual(self.counts(live), (2, 2))
            self.stop()

    def test_one_that_failed_is_carried_out_again_and_not_answered_for_ever(self) -> None:
        self.source.obey = lambda frame: False
        self.server.replies["writeConfig"] = {**STOP_ORDER, **OK}
        live = self.attached(1)
        self.send(live, STOP_ORDER, 30)
        self.assertEqual(self.counts(live), (3, 2))

    def test_beside_another_order(self) -> None:
        live = self.attached(1)
        self.send(live, {**WITH_UID, "params": STOP})
        self.send(live, {**WITH_UID, "uid": "2", "params": f"{STOP},1"})
        self.send(live, {**STOP_ORDER, "uid": "3", "modulePort": 2, "params": f"{AUTO},1"})
        self.assertEqual((self.source.written, self.source.ports), ([STOP] * 3, []))

    def test_of_a_server_that_sends_each_answer_back(self) -> None:
        for order in (STOP_ORDER, {**STOP_ORDER, **OK}):
            self.prepare()
            self.server.replies["writeConfig"] = lambda connection: connection.received[-1]
            live = self.attached(1)
            self.send(live, order, 60)
            self.assertEqual(self.counts(live), (3, 2))
            self.stop()

    def test_of_a_server_with_two_parts_that_acknowledge(self) -> None:
        self.server.replies["writeConfig"] = compact({**STOP_ORDER, **OK}) * 2
        live = self.attached(1)
        self.send(live, STOP_ORDER, 30)
        self.assertEqual(len(live.of("writeConfig")), 2)


class VectorTests(AcknowledgementTestCase):
    """What comes late: no acknowledgement is carried out, and no stop is left out."""

    def test_each(self) -> None:
        for case in load_cases("late_acknowledgements"):
            with self.subTest(case["name"]):
                self.prepare()
                live = self.attached(1)
                for after_s, wire in case["says"]:
                    run(self.clock, after_s)
                    self.assertIs(live, self.server.last)
                    live.send(wire.encode())
                run(self.clock, 5)
                self.assertEqual([*self.source.written, *("port" for _ in self.source.ports)], case["done"])
                self.assertEqual(len(live.of("writeConfig")), case["answers"])
                self.stop()


class ResetTests(AcknowledgementTestCase):
    def reset_again(self, message: dict[str, Any], after_s: float) -> int:
        """How many logins there are after a reset and a message on the session that follows."""
        self.prepare()
        self.attached(1).send(RESET)
        run(self.clock, after_s)
        self.send(self.server.last, message, 4)
        self.stop()
        return self.link.counters.logins

    def test_its_acknowledgement_on_the_next_session(self) -> None:
        self.assertEqual(self.reset_again({"method": "reset", **OK}, 3), 2)
        self.assertEqual(self.reset_again({"method": "reset", "hostid": "A"}, RESET_S + 1), 2)

    def test_a_second_one(self) -> None:
        self.assertEqual(self.reset_again({"method": "reset"}, 3), 3)
        self.assertEqual(self.reset_again(RESET, RESET_S + 1), 3)
