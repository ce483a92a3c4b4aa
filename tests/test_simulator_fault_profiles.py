"""``cmmd.simulator.fault_profiles``: what a server sees of each manner, and what has been done."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import ExceptionResponse, Function, WriteCoilRequest
from cmmd.simulator.device import SimulatedDevice
from cmmd.simulator.fault_profiles import LATE_S, MANNERS, FaultProfile, Turn, parse_turns
from cmmd.simulator.fleet import identities
from cmmd.simulator.genset.genset import Genset
from cmmd.wire.messages import WriteConfigAnswer
from tests.scripted_server import RESET, Accepted, run
from tests.test_gateway_link import LinkTestCase

TEST = "00050002FF002C2B"
AUTO = "00050003FF007DEB"
UID = "123456"

Said = tuple[float, str | None, str | None]
"""Seconds after the order, uid, params."""


class MannerTests(LinkTestCase):
    """Each manner between a device and a server made of memory."""

    def setUp(self) -> None:
        """Each test prepares its own link."""

    def misbehaving(self, text: str) -> Accepted:
        self.wrong = FaultProfile(parse_turns(text), Random(1))
        self.prepare(answers=self.wrong.answers)
        return self.attached()

    def feeding(self) -> SimulatedDevice:
        self.genset = Genset(Random(1), self.clock.seconds, running=False, mains_schedule=False)
        (identity,) = identities(1, 1, "HGM6120N")
        return SimulatedDevice(identity, self.genset, self.wrong)

    def order(self, live: Accepted, result: str = TEST, uid: str = UID) -> None:
        live.send({"result": result, "datatype": 1, "uid": uid, "method": "writeConfig"})
        self.sent_at = self.clock.seconds()

    def said(self, live: Accepted) -> list[Said]:
        return [
            (round(time - self.sent_at, 3), answer.get("uid"), answer.get("params"))
            for time, answer in zip(live.times_of("writeConfig"), live.of("writeConfig"), strict=True)
        ]

    def assert_said(self, text: str, said: list[Said], mode: str) -> None:
        """A command gets these answers, is done or not, and the next one is answered as it should be."""
        live = self.misbehaving(f"{text},none")
        self.order(live)
        run(self.clock, 50)
        self.assertEqual(self.said(live), said)
        self.assertEqual(self.genset.mode, mode)
        self.order(live, AUTO, "654321")
        self.assertEqual(self.said(live)[len(said) :], [(0.0, "654321", AUTO + ",1")])
        self.assertFalse(live.gone)

    def test_none(self) -> None:
        self.assert_said("none", [(0.0, UID, TEST + ",1")], "test")

    def test_silent(self) -> None:
        self.assert_said("silent", [], "test")

    def test_late(self) -> None:
        self.assert_said("late", [(LATE_S, UID, TEST + ",1")], "test")
        self.stop()
        self.assert_said("late=7.5", [(7.5, UID, TEST + ",1")], "test")

    def test_twice(self) -> None:
        self.assert_said("twice", [(0.0, UID, TEST + ",1"), (0.5, UID, TEST + ",1")], "test")

    def test_without_uid(self) -> None:
        self.assert_said("without_uid", [(0.0, None, TEST + ",1")], "test")

    def test_refuses(self) -> None:
        self.assert_said("refuses", [(0.0, UID, TEST + ",0")], "auto")

    def test_pretends(self) -> None:
        self.assert_said("pretends", [(0.0, UID, TEST + ",1")], "auto")

    def test_exception(self) -> None:
        failure = ExceptionResponse(0, Function.WRITE_COIL, 4).to_hex()
        self.assert_said("exception", [(0.0, UID, failure + ",0")], "auto")

    def test_exceptions_to_several_frames(self) -> None:
        live = self.misbehaving("exception")
        to_unit_1 = WriteCoilRequest(1, 2, True).to_hex()
        failures = [ExceptionResponse(unit, Function.WRITE_COIL, 4).to_hex() for unit in (0, 1)]
        self.order(live, f"{to_unit_1};nonsense;{TEST}")
        self.order(live, "")
        run(self.clock, 1)  # a device leaves a pause between two messages of its own
        self.assertEqual(
            [params for _, _, params in self.said(live)], [f"{failures[1]},0;nonsense,0;{failures[0]},0", ",0"]
        )

    def test_wrong_uid(self) -> None:
        live = self.misbehaving("wrong_uid")
        self.order(live)
        ((_, uid, params),) = self.said(live)
        self.assertRegex(str(uid), r"\A\d{6}\Z")
        self.assertNotEqual(uid, UID)
        self.assertEqual((params, self.genset.mode), (TEST + ",1", "test"))

    def test_garbled(self) -> None:
        live = self.misbehaving("garbled")
        self.order(live)
        ((_, uid, params),) = self.said(live)
        self.assertEqual((uid, str(params)[-2:]), (UID, ",1"))
        self.assertEqual(sum(one != other for one, other in zip(TEST + ",1", str(params), strict=True)), 1)

    def test_foreign(self) -> None:
        live = self.misbehaving("foreign")
        self.order(live)
        ((_, uid, params),) = self.said(live)
        self.assertNotIn(uid, (UID, None))
        self.assertNotEqual(params, TEST + ",1")

    def test_hangs_up(self) -> None:
        live = self.misbehaving("hangs_up,none")
        self.order(live)
        run(self.clock, 0.1)
        self.assertEqual((live.gone, self.said(live), self.genset.mode), (True, [], "test"))
        self.assert_comes_back()
        self.order(self.server.last, AUTO)
        self.assertEqual(self.said(self.server.last), [(0.0, UID, AUTO + ",1")])

    def test_every_manner_has_its_test(self) -> None:
        self.assertEqual([name for name in MANNERS if not hasattr(self, f"test_{name}")], [])

    def test_wiring(self) -> None:
        for manner, said in (
            ("garbled", {"modulePort": 2, "moduleBaud": 0, "uid": UID}),
            ("without_uid", {"modulePort": 1, "moduleBaud": 2}),
            ("refuses", {"params": ",0", "uid": UID}),
            ("exception", {"params": ",0", "uid": UID}),
            ("pretends", {"modulePort": 1, "moduleBaud": 2, "uid": UID}),
        ):
            with self.subTest(manner):
                live = self.misbehaving(manner)
                live.send({"modulePort": 1, "moduleBaud": 2, "datatype": 1, "uid": UID, "method": "writeConfig"})
                (answer,) = live.of("writeConfig")
                self.assertEqual({key: answer[key] for key in answer if key not in ("method", "hostid")}, said)
                self.stop()

    def test_resets(self) -> None:
        for manner, times in (
            ("none", [0.0]),
            ("late=5", [5.0]),
            ("twice", [0.0, 0.5]),
            ("hangs_up", []),
            ("wrong_uid", [0.0]),
            ("refuses", [0.0]),
        ):
            with self.subTest(manner):
                live = self.misbehaving(f"{manner},none")
                live.send(RESET)
                sent_at = self.clock.seconds()
                run(self.clock, 10)
                self.assertEqual([round(time - sent_at, 3) for time in live.times_of("reset")], times)
                self.assertEqual((live.gone, self.link.counters.online), (True, 1))
                self.stop()

    def test_a_reset_that_stays_unanswered(self) -> None:
        live = self.misbehaving("silent,none")
        live.send(RESET)
        run(self.clock, 100)
        self.assertEqual((live.of("reset"), live.gone), ([], False))
        live.send(RESET)
        run(self.clock, 5)
        self.assertEqual((len(live.of("reset")), live.gone, self.link.counters.online), (1, True, 1))


class TurnTests(SynchronousTestCase):
    """The list of manners, and whose turn it is."""

    def answered(self, wrong: FaultProfile, uid: str = UID) -> list[Any]:
        return list(wrong.answers(WriteConfigAnswer(params=AUTO + ",1", hostid="H", uid=uid)))

    def test_parse(self) -> None:
        self.assertEqual(parse_turns("silent"), (Turn("silent"),))
        self.assertEqual(
            parse_turns("late, none,late=0.5 ,late=0"),
            (Turn("late", LATE_S), Turn("none"), Turn("late", 0.5), Turn("late", 0.0)),
        )

    def test_what_is_no_list(self) -> None:
        for text in (
            *("", ",", "silent,", "rude", "LATE", "none=", "silent=1", "=1"),
            *("late=", "late=x", "late=-1", "late=nan", "late=inf", "late=3601"),
        ):
            with self.subTest(text):
                self.assertRaises(ValueError, parse_turns, text)

    def test_in_turn_and_over_again(self) -> None:
        wrong = FaultProfile(parse_turns("silent,refuses,pretends,none"), Random(1))
        for _ in range(3):
            for says, steps in ((None, 0), (False, 1), (True, 1), (None, 1)):
                self.assertIs(wrong.says, says)
                self.assertIs(wrong.says, says)  # of each frame of an order
                self.assertEqual(len(self.answered(wrong)), steps)

    def test_the_seed_decides_what_is_wrong(self) -> None:
        one, same, other = (
            [self.answered(wrong) for _ in range(10)]
            for wrong in (FaultProfile(parse_turns("foreign"), Random(seed)) for seed in (1, 1, 2))
        )
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)

    @given(st.integers(0, 2**32), st.integers(0, 999_999))
    def test_what_is_wrong_is_wrong(self, seed: int, number: int) -> None:
        uid = f"{number:06}"
        wrong = FaultProfile(parse_turns("wrong_uid,garbled,foreign"), Random(seed))
        other_uid, garbled, foreign = (step.message for _ in range(3) for step in self.answered(wrong, uid))
        self.assertNotEqual(other_uid.uid, uid)
        self.assertNotEqual(foreign.uid, uid)
        for one in (garbled, foreign):
            self.assertNotEqual(one.params, AUTO + ",1")
            self.assertEqual(one.params[-2:], ",1")
            self.assertEqual(len(bytes.fromhex(one.params[:-2])), 8)

    def test_a_wrong_uid_is_wrong_even_by_chance(self) -> None:
        drawn, other = (
            self.answered(FaultProfile(parse_turns("wrong_uid"), Random(1)), uid)[0].message.uid
            for uid in (UID, f"{Random(1).randrange(1_000_000):06}")
        )
        self.assertEqual(drawn, f"{Random(1).randrange(1_000_000):06}")
        self.assertNotEqual(other, drawn)

    @given(st.text(max_size=20), st.integers(0, 2**32))
    def test_any_answer_can_be_garbled(self, params: str, seed: int) -> None:
        wrong = FaultProfile(parse_turns("garbled"), Random(seed))
        (step,) = wrong.answers(WriteConfigAnswer(params=params, hostid="H", uid=UID))
        assert isinstance(step.message, WriteConfigAnswer)
        self.assertEqual(len(step.message.params or ""), len(params))
