"""``cmmd.gateway.poller``: a controller on a bus, as a source."""

from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

import tests.support  # noqa: F401 - hypothesis' settings
from cmmd.controllers.catalog import Catalog, load_catalog
from cmmd.controllers.definition import parse_definition
from cmmd.controllers.profile import Profile
from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.telemetry.genset_state import StateDetector
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.fleet.telemetry.plan import Plan
from cmmd.fleet.telemetry.telemetry import Telemetry
from cmmd.gateway.bus import NotSent
from cmmd.gateway.link.source import InputStates, OutcomeUnknown
from cmmd.gateway.poller import MISSED_BEFORE_SAID, MOST_ITEMS, BusSource
from cmmd.modbus.frames import (
    ExceptionResponse,
    Function,
    ModbusFrameError,
    ReadRequest,
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegisterRequest,
    parse_plan,
    read_response,
)
from cmmd.store.records import Device
from cmmd.wire.messages import ChangeParams, LoginParams
from tests.fake_bus import FakeBus, FakeWiring, no_answer, refusal
from tests.scripted_server import HOSTID, PLAN
from tests.test_modbus_requests import write_requests

T = TypeVar("T")

COILS, FIRST, SECOND = parse_plan(PLAN)
ALIKE = tuple(ReadRequest(1, Function.READ_HOLDING_REGISTERS, address, 4) for address in (0, 100, 200))
"""Requests whose responses only their order tells apart."""
AUTO = "00050003FF007DEB"
STOP = "00050001FF00DC2B"
CATALOG = load_catalog()
SILENCE = [ExceptionResponse(one.unit, one.function, 0x0B).to_hex() for one in (COILS, FIRST, SECOND)]


def plan_of(*requests: ReadRequest) -> str:
    return ";".join(request.to_hex() for request in requests)


class PollerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.bus = FakeBus()
        self.wiring = FakeWiring()
        self.inputs = InputStates()
        self.moduletype = "HGM6120N"
        self.source = self.made()

    def made(self, catalog: Catalog = CATALOG, **options: Any) -> BusSource:
        return BusSource(
            self.identity, self.bus, wiring=self.wiring, inputs=lambda: self.inputs, catalog=catalog, **options
        )

    def identity(self) -> LoginParams:
        return LoginParams(hostid=HOSTID, hostname="Real", password="123456", moduletype=self.moduletype)

    def do(self, awaitable: Awaitable[T]) -> T:
        return self.successResultOf(begun(awaitable))

    def full(self) -> list[str]:
        """The frames of a full upload."""
        params = self.do(self.source.full_upload())
        return params.split(";") if params else []

    def changes(self) -> ChangeParams | None:
        changes = self.do(self.source.change_upload())
        assert not isinstance(changes, str), changes
        return changes

    def answer(self, request: ReadRequest) -> str:
        return read_response(request, self.bus.values(request))


def begun(awaitable: Awaitable[T]) -> "Deferred[T]":
    async def wait() -> T:
        return await awaitable

    return Deferred.fromCoroutine(wait())


class IdentityTests(PollerTestCase):
    def test_wired_as_it_is_now(self) -> None:
        identity = self.source.identity()
        self.assertEqual((identity.hostid, identity.modulePort, identity.moduleBaud), (HOSTID, 2, 0))
        self.assertTrue(self.do(self.source.set_port(None, 1)))
        self.assertEqual((self.source.identity().modulePort, self.source.identity().moduleBaud), (2, 1))

    def test_inputs(self) -> None:
        self.inputs = InputStates(1, 0, None, 0)
        self.assertEqual(self.source.inputs(), InputStates(1, 0, None, 0))


class FullTests(PollerTestCase):
    def test_before_login(self) -> None:
        self.assertEqual((self.full(), self.changes(), self.bus.asked), ([], None, []))
        self.assertFalse(self.source.silent)

    def test_exactly_the_plan_in_its_order(self) -> None:
        self.bus.registers = {0: 230, 6: 5000, 47: 12}
        self.bus.coils = 1 << 41
        self.source.follow(PLAN, 1)
        self.assertEqual(self.full(), [self.answer(request) for request in (COILS, FIRST, SECOND)])
        self.assertEqual(self.bus.asked, PLAN.split(";"))
        self.source.follow(plan_of(SECOND, COILS), 1)
        self.bus.asked.clear()
        self.assertEqual(self.full(), [self.answer(SECOND), self.answer(COILS)])
        self.assertEqual(self.bus.asked, [SECOND.to_hex(), COILS.to_hex()])
        self.assertEqual(self.source.cycles, 2)

    def test_a_plan_that_is_none(self) -> None:
        self.source.follow(PLAN, 1)
        self.assertRaises(ModbusFrameError, self.source.follow, "01010000005ABC32", 1)
        self.assertEqual(len(self.full()), 3, "it follows what it followed before")

    def test_what_is_not_answered_is_left_out(self) -> None:
        self.source.follow(PLAN, 1)
        for missing in (COILS, FIRST, SECOND):
            self.bus.troubles = {missing.to_hex(): no_answer()}
            there = [request for request in (COILS, FIRST, SECOND) if request != missing]
            self.assertEqual(self.full(), [self.answer(request) for request in there])
        self.assertEqual((self.source.unanswered, self.source.withheld), (3, 0))

    def test_a_controller_that_is_silent(self) -> None:
        """It is said when it begins and when it ends; an empty upload would say that nothing is new."""
        self.source.follow(PLAN, 1)
        for trouble in (no_answer(), NotSent("the port is not open")):
            self.bus.troubles = {request.to_hex(): trouble for request in (COILS, FIRST, SECOND)}
            with capturedLogs() as events:
                self.assertEqual([self.full() for _ in range(3)], [SILENCE] * 3)
                self.assertTrue(self.source.silent)
                self.bus.troubles.pop(FIRST.to_hex())
                self.assertEqual(len(self.full()), 1)
                self.assertFalse(self.source.silent)
            self.assertEqual(len(events), 2)

    def test_exceptions_are_answers(self) -> None:
        self.source.follow(PLAN, 1)
        self.bus.troubles = {FIRST.to_hex(): refusal(FIRST, 4)}
        exception = ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 4).to_hex()
        self.assertEqual(self.full(), [self.answer(COILS), exception, self.answer(SECOND)])
        self.assertEqual((self.source.exceptions, self.source.unanswered, self.source.silent), (1, 0, False))

    def test_what_is_refused_is_unknown_and_the_rest_is_uploaded(self) -> None:
        self.source.follow(PLAN, 0)
        self.assertEqual(len(self.full()), 3)
        self.assertEqual(self.source.unread, [])
        self.bus.troubles = {FIRST.to_hex(): refusal(FIRST, 2)}
        self.bus.registers[50] = 0x0107
        with capturedLogs() as events:
            changes = self.changes()
            self.assertEqual(changes, ChangeParams(f03=[{"0032": "0107"}]))
            self.assertIsNone(self.changes())
            full = self.do(self.source.change_upload())  # it has been refused for three rounds
            self.assertIsNone(self.changes())
        assert isinstance(full, str)
        exception = ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 2).to_hex()
        self.assertEqual(full.split(";"), [self.answer(COILS), exception, self.answer(SECOND)])
        self.assertEqual(self.source.unread, ["registers 0 to 44: exception 2, illegal data address"])
        self.assertEqual([event["unread"] for event in events if "unread" in event], self.source.unread)
        self.bus.troubles = {}
        changes = self.changes()
        assert changes is not None
        self.assertEqual((len(changes.f03), self.source.unread), (45, []))
        self.bus.troubles = {COILS.to_hex(): no_answer()}
        self.full()
        self.assertEqual(self.source.unread, ["coils 0 to 89: no valid answer"])


class AmbiguityTests(PollerTestCase):
    """What a server makes of an upload that lacks frames (section 4.4)."""

    def setUp(self) -> None:
        super().setUp()
        for place, request in enumerate(ALIKE):
            self.bus.registers.update(dict.fromkeys(range(request.address, request.address + 4), place + 1))
        self.source.follow(plan_of(COILS, *ALIKE, FIRST), 1)

    def test_without_any_that_could_be_taken_for_another(self) -> None:
        self.assertEqual(len(self.full()), 5)
        with capturedLogs() as events:
            for missing in (COILS, *ALIKE, FIRST):
                self.bus.troubles = {missing.to_hex(): no_answer()}
                there = [request for request in (COILS, FIRST) if request != missing]
                self.assertEqual(self.full(), [self.answer(request) for request in there])
        self.assertEqual(self.source.withheld, 3 + 2 + 2 + 2 + 3)
        self.assertEqual(len([event for event in events if "not uploaded" in (event["log_format"] or "")]), 1)

    def test_an_exception_keeps_the_place(self) -> None:
        self.bus.troubles = {ALIKE[1].to_hex(): refusal(ALIKE[1])}
        self.assertEqual(len(self.full()), 5)
        self.assertEqual(self.source.withheld, 0)

    def test_an_exception_beside_one_that_is_missing(self) -> None:
        self.bus.troubles = {ALIKE[1].to_hex(): refusal(ALIKE[1]), COILS.to_hex(): no_answer()}
        exception = ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 2).to_hex()
        self.assertEqual(self.full(), [exception, self.answer(FIRST)])

    def test_the_same_request_twice(self) -> None:
        self.source.follow(plan_of(FIRST, FIRST, COILS), 1)
        self.assertEqual(self.full(), [self.answer(FIRST), self.answer(FIRST), self.answer(COILS)])

    def test_in_changes_they_come(self) -> None:
        """A full set that lacks blocks is none: what they hold comes as changes, with addresses."""
        self.bus.troubles = {COILS.to_hex(): no_answer()}
        self.assertEqual(self.full(), [self.answer(FIRST)])
        self.assertEqual((self.source.reading(), self.source.withheld), (self.answer(FIRST), 3))
        changes = self.changes()
        assert changes is not None
        told = {place: value for item in changes.f03 for place, value in item.items()}
        self.assertEqual(set(told), {f"{one.address + place:04X}" for one in ALIKE for place in range(4)})
        self.assertEqual((told["0064"], changes.f01), ("0002", []))
        self.bus.troubles = {}
        changes = self.changes()
        assert changes is not None
        self.assertEqual((len(changes.f01), changes.f03), (12, []))
        self.assertIsNone(self.changes())

    @given(
        st.lists(st.sampled_from([*ALIKE, COILS, FIRST, SECOND]), min_size=1, max_size=6, unique=True),
        st.sets(st.integers(0, 5)),
        st.sets(st.integers(0, 5)),
    )
    def test_a_server_never_takes_one_for_another(
        self, plan: Sequence[ReadRequest], missing: set[int], refused: set[int]
    ) -> None:
        """Ours, with each register holding its own address, whatever is missing or refused."""
        self.bus.registers = {address: address + 1 for address in range(300)}
        self.bus.troubles = {plan[place].to_hex(): refusal(plan[place]) for place in refused if place < len(plan)}
        self.bus.troubles |= {plan[place].to_hex(): no_answer() for place in missing if place < len(plan)}
        self.source.follow(plan_of(*plan), 1)
        params = self.do(self.source.full_upload())
        counters = Counters()
        record = new_record()
        Telemetry(counters, Clock(), lambda *_: None).full(record, params, Plan(plan_of(*plan)))
        for run in record.known.image.known(Function.READ_HOLDING_REGISTERS):
            for address in run:
                self.assertEqual(record.known.image.register(Function.READ_HOLDING_REGISTERS, address), address + 1)
        self.assertEqual(counters.frames["ambiguous"] + counters.frames["foreign"], 0)  # type: ignore[index]


def new_record() -> LiveRecord:
    profile = CATALOG.for_moduletype("HGM6120N")
    device = Device(hostid=HOSTID, hostname="", password_hash=None, moduletype="HGM6120N", registered_at=0)
    return LiveRecord(device, profile, Plan(PLAN), StateDetector(profile))


class ChangeTests(PollerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bus.registers = {0: 230, 6: 5000, 50: 0}
        self.source.follow(PLAN, 0)

    def test_what_changed_since_the_last_upload(self) -> None:
        self.full()
        self.assertIsNone(self.changes())
        self.bus.registers[0] = 0x00EF
        self.bus.coils = 1 << 41
        self.bus.registers[50] = 5000
        self.assertEqual(self.changes(), ChangeParams(f01=[{"0028": "02"}], f03=[{"0000": "00EF"}, {"0032": "1388"}]))
        self.assertIsNone(self.changes())
        self.full()
        self.assertIsNone(self.changes())

    def test_a_block_that_was_not_read_now_and_then_changes_nothing(self) -> None:
        self.full()
        for trouble in (no_answer(), refusal(FIRST), NotSent("the port is not open")):
            self.bus.registers[0] += 1
            self.bus.troubles = {FIRST.to_hex(): trouble}
            for _ in range(MISSED_BEFORE_SAID - 1):
                self.assertIsNone(self.changes())
            self.bus.troubles = {}
            self.assertEqual(self.changes(), ChangeParams(f03=[{"0000": f"{self.bus.registers[0]:04X}"}]))

    def test_a_block_that_is_not_read_any_more_is_told_once_in_a_full_set(self) -> None:
        """Else the server would take its last values for true for ever; then they come back, all of them."""
        exception = ExceptionResponse(1, Function.READ_COILS, 2).to_hex()
        for trouble, told in ((no_answer(), []), (refusal(COILS), [exception])):
            self.full()
            self.bus.troubles = {COILS.to_hex(): trouble}
            self.bus.registers[50] += 1
            said = [self.do(self.source.change_upload()) for _ in range(10)]
            self.assertEqual(said[0], ChangeParams(f03=[{"0032": f"{self.bus.registers[50]:04X}"}]))
            self.assertEqual(said[1], None)
            self.assertEqual(said[2], ";".join([*told, self.answer(FIRST), self.answer(SECOND)]))
            self.assertEqual(said[3:], [None] * 7)
            self.bus.troubles = {}
            changes = self.changes()
            assert changes is not None
            self.assertEqual((len(changes.f01), changes.f03), (12, []))
            self.assertIsNone(self.changes())

    def test_blocks_that_fail_one_after_the_other(self) -> None:
        self.full()
        self.bus.troubles = {COILS.to_hex(): no_answer()}
        self.assertEqual([self.changes(), self.changes()], [None, None])
        self.bus.troubles[SECOND.to_hex()] = refusal(SECOND)
        exception = ExceptionResponse(1, Function.READ_HOLDING_REGISTERS, 2).to_hex()
        self.assertEqual(self.do(self.source.change_upload()), ";".join([self.answer(FIRST), exception]))
        self.assertEqual([self.changes() for _ in range(5)], [None] * 5)

    def test_missed_before_a_full_set_does_not_count(self) -> None:
        self.full()
        self.bus.troubles = {COILS.to_hex(): no_answer()}
        self.assertEqual([self.changes(), self.changes()], [None, None])
        self.bus.troubles = {}
        self.full()
        self.bus.troubles = {COILS.to_hex(): no_answer()}
        self.assertEqual([self.changes(), self.changes()], [None, None])

    def test_a_block_that_the_full_set_lacked_comes_as_changes(self) -> None:
        """All of it, zeros too: the server knows nothing of it."""
        for trouble in (no_answer(), refusal(SECOND)):
            self.bus.troubles = {SECOND.to_hex(): trouble}
            self.full()
            self.assertIsNone(self.changes())
            self.bus.troubles = {}
            changes = self.changes()
            assert changes is not None
            self.assertEqual(changes.f03, [{f"{address:04X}": "0000"} for address in range(46, 56)])
            self.assertIsNone(self.changes())

    def test_a_controller_that_is_silent(self) -> None:
        """The server hears of it in full uploads, not of each cycle; then comes a full set."""
        self.full()
        self.bus.troubles = {request.to_hex(): no_answer() for request in (COILS, FIRST, SECOND)}
        said = [self.do(self.source.change_upload()) for _ in range(30)]
        self.assertEqual([n for n, one in enumerate(said, 1) if one is not None], [1, 2, 3, 10, 20, 30])
        self.assertEqual({one for one in said if one is not None}, {";".join(SILENCE)})
        self.bus.troubles.pop(FIRST.to_hex())
        self.assertEqual(self.do(self.source.change_upload()), self.answer(FIRST))
        self.bus.troubles = {}
        changes = self.changes()
        assert changes is not None
        self.assertEqual((len(changes.f01), len(changes.f03)), (12, 10))
        self.assertIsNone(self.changes())

    def test_what_was_read_last_whatever_was_uploaded_of_it(self) -> None:
        self.assertEqual(self.source.reading(), "")
        self.full()
        self.bus.registers[0] = 231
        self.changes()
        self.assertEqual(self.source.reading(), ";".join(map(self.answer, (COILS, FIRST, SECOND))))
        self.assertIsNone(self.changes(), "asking uploads nothing")
        self.bus.troubles = {FIRST.to_hex(): no_answer()}
        self.changes()
        self.assertEqual(self.source.reading(), ";".join(map(self.answer, (COILS, SECOND))))
        self.bus.troubles = {request.to_hex(): no_answer() for request in (COILS, FIRST, SECOND)}
        self.do(self.source.change_upload())
        self.assertEqual(self.source.reading(), "")
        self.bus.troubles = {}
        self.full()
        self.source.follow(PLAN, 0)
        self.assertEqual(self.source.reading(), "")

    def test_a_new_login_forgets_what_was_uploaded(self) -> None:
        self.full()
        self.source.follow(PLAN, 0)
        changes = self.changes()
        assert changes is not None
        self.assertEqual(len(changes.f03), 55)

    def test_byte_order_of_the_profile(self) -> None:
        little = Profile(
            "own",
            parse_definition(
                'title = "Own"\nmodels = ["OWN1"]\nchange_byte_order = "little"\n'
                "polls = [{unit = 1, function = 3, address = 0, count = 4}]\n"
            ),
        )
        self.source = self.made(Catalog(CATALOG, [little]))
        for moduletype, value in (("OWN1", "EF00"), ("HGM6120N", "00EF"), ("HGM4020N", "00EF"), ("?", "00EF")):
            self.moduletype = moduletype
            self.source.follow(plan_of(FIRST), 0)
            self.bus.registers[0] = 0
            self.full()
            self.bus.registers[0] = 0x00EF
            self.assertEqual(self.changes(), ChangeParams(f03=[{"0000": value}]), moduletype)

    def test_a_byte_order_that_nobody_has_told_is_warned_of_once(self) -> None:
        for moduletype, data_mode, order, lines in (
            ("?", 0, None, 1),
            ("?", 1, None, 0),
            ("?", 0, "little", 0),
            ("HGM6120N", 0, None, 0),
        ):
            self.moduletype = moduletype
            self.source = self.made(byte_order=order)
            with capturedLogs() as events:
                self.source.follow(PLAN, data_mode)
                self.source.follow(PLAN, data_mode)
            self.assertEqual(len(events), lines, (moduletype, data_mode, order))

    def test_byte_order_as_configured(self) -> None:
        for order, value in (("big", "00EF"), ("little", "EF00")):
            self.source = self.made(byte_order=order)
            self.source.follow(plan_of(FIRST), 0)
            self.bus.registers[0] = 0
            self.full()
            self.bus.registers[0] = 0x00EF
            self.assertEqual(self.changes(), ChangeParams(f03=[{"0000": value}]))

    def test_more_than_a_packet_has_room_for(self) -> None:
        """The rest comes with the next ones; nothing is lost."""
        plan = [ReadRequest(1, Function.READ_HOLDING_REGISTERS, 125 * block, 125) for block in range(9)]
        self.source.follow(plan_of(*plan), 0)
        seen: list[str] = []
        for _ in range(10):
            changes = self.changes()
            if changes is None:
                break
            self.assertLessEqual(len(changes.f03), MOST_ITEMS)
            seen += [place for item in changes.f03 for place in item]
        self.assertEqual(seen, [f"{address:04X}" for address in range(9 * 125)])


class CycleTests(PollerTestCase):
    def test_never_two_at_once(self) -> None:
        self.source.follow(PLAN, 1)
        self.bus.held = []
        first, second = begun(self.source.full_upload()), begun(self.source.change_upload())
        for turn in range(6):
            self.assertEqual(len(self.bus.asked), turn + 1)
            self.bus.held[turn].callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual((self.bus.most_at_once, self.bus.asked), (1, PLAN.split(";") * 2))

    def test_one_that_is_given_up_holds_up_nobody(self) -> None:
        self.source.follow(PLAN, 1)
        self.bus.held = []
        first, second = begun(self.source.full_upload()), begun(self.source.full_upload())
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(len(self.bus.asked), 2)
        self.assertEqual(self.source.cycles, 0)
        for turn in (1, 2, 3):
            self.bus.held[turn].callback(None)
        self.assertEqual(len(self.successResultOf(second).split(";")), 3)


class WriteTests(PollerTestCase):
    def test_the_vendors_unit_00_becomes_the_controllers(self) -> None:
        self.assertTrue(self.do(self.source.write(AUTO)))
        self.assertEqual(self.bus.written, [WriteCoilRequest(1, 3, True)])
        self.source = self.made(unit=7)
        self.assertTrue(self.do(self.source.write(AUTO)))
        self.assertEqual(self.bus.written[-1], WriteCoilRequest(7, 3, True))

    def test_other_units_stay(self) -> None:
        self.assertTrue(self.do(self.source.write(WriteRegisterRequest(5, 7, 1234).to_hex().lower())))
        self.assertEqual(self.bus.written, [WriteRegisterRequest(5, 7, 1234)])

    @given(write_requests())
    def test_any_write(self, request: object) -> None:
        self.bus.written.clear()
        self.assertTrue(self.do(self.source.write(request.to_hex())))  # type: ignore[attr-defined]
        (written,) = self.bus.written
        self.assertEqual(written.to_hex()[2:-4], request.to_hex()[2:-4])  # type: ignore[attr-defined]

    def test_what_is_no_write_gets_nowhere(self) -> None:
        for frame in (
            "00050003FF007DEC",  # CRC
            "010300000050" + "45F6",  # a read
            "0105000312347C0B",  # neither on nor off
            "01170000",
            "",
            "x",
            "01" * 300,
        ):
            with self.subTest(frame):
                self.assertFalse(self.do(self.source.write(frame)))
        self.assertEqual(self.bus.written, [])

    @given(st.text(max_size=40))
    def test_garbage(self, frame: str) -> None:
        self.assertFalse(self.do(self.source.write(frame)))
        self.assertEqual(self.bus.written, [])

    def test_what_the_controller_says(self) -> None:
        request = WriteCoilRequest(1, 3, True)
        self.bus.write_troubles = [refusal(request, 2), NotSent("the port is not open"), None]
        self.assertEqual([self.do(self.source.write(AUTO)) for _ in range(3)], [False, False, True])

    def test_nobody_knows(self) -> None:
        self.bus.write_troubles = [no_answer()]
        failure = self.failureResultOf(begun(self.source.write(AUTO)), OutcomeUnknown)
        self.assertIn("01050003FF007C3A", str(failure.value))
        self.assertEqual(len(self.bus.written), 1)

    def test_inhibited(self) -> None:
        for state, obeys in ((1, False), (0, True), (None, True)):
            self.inputs = InputStates(inhibit_remote=state)
            self.assertEqual(self.do(self.source.write(AUTO)), obeys)
            self.assertEqual(self.do(self.source.set_port(2, 1)), obeys)
        self.assertEqual((len(self.bus.written), len(self.wiring.changes)), (2, 2))

    def stop(self, frame: str = STOP) -> bool:
        return self.do(self.source.stop(frame, 5.0))

    def test_what_is_a_stop(self) -> None:
        """Function, address and value of the profile's command, to the controller or to unit 00."""
        self.source = self.made(unit=7)
        self.assertEqual(
            [
                self.source.is_stop(frame)
                for frame in (
                    STOP,
                    STOP.lower(),
                    WriteCoilRequest(7, 1, True).to_hex(),
                    WriteCoilRequest(0, 1, True).to_hex(),
                )
            ],
            [True] * 4,
        )
        for frame in (
            WriteCoilRequest(0, 1, False).to_hex(),
            WriteCoilRequest(1, 1, True).to_hex(),  # the unit of another controller
            *(WriteCoilRequest(0, coil, True).to_hex() for coil in (0, 2, 3, 4, 5, 6, 257)),
            WriteRegisterRequest(0, 1, 0xFF00).to_hex(),
            WriteCoilsRequest(0, 1, (True,)).to_hex(),
            "01010001000" + "1ACCA",  # a read of it
            "00050001FF00DC2C",  # CRC
            f"{STOP};{STOP}",
            "",
            "x",
        ):
            self.assertFalse(self.source.is_stop(frame), frame)
            self.inputs = InputStates(inhibit_remote=1)
            self.assertFalse(self.stop(frame), frame)
        self.assertEqual(self.bus.written, [])

    def test_a_stop_is_done_though_inhibited(self) -> None:
        self.inputs = InputStates(inhibit_remote=1)
        self.assertTrue(self.stop())
        self.assertEqual(self.bus.firsts, [(WriteCoilRequest(1, 1, True), 5.0)])
        self.assertFalse(self.do(self.source.write(STOP)), "as part of another order it has no privilege")
        self.assertEqual(len(self.bus.written), 1)

    def test_where_nobody_has_said_what_stop_is(self) -> None:
        without = Profile(
            "own",
            parse_definition(
                'title = "Own"\nmodels = ["OWN1"]\npolls = [{unit = 1, function = 3, address = 0, count = 4}]\n'
            ),
        )
        self.source = self.made(Catalog(CATALOG, [without]))
        verified, by_evidence, unknown = ("HGM6120N", "HGM4020N"), ("HGM6110N", "HGM4010N"), ("OWN1", "HGM9999", "?")
        for moduletype, known in ((one, one not in unknown) for one in (*verified, *by_evidence, *unknown)):
            self.moduletype = moduletype
            self.assertEqual((self.source.is_stop(STOP), self.stop()), (known, known), moduletype)

    def test_what_the_controller_says_to_a_stop(self) -> None:
        self.bus.write_troubles = [refusal(WriteCoilRequest(1, 1, True), 2), NotSent("the port is not open"), None]
        self.assertEqual([self.stop() for _ in range(3)], [False, False, True])
        self.bus.write_troubles = [no_answer()]
        self.failureResultOf(begun(self.source.stop(STOP, 5.0)), OutcomeUnknown)

    def test_inhibited_while_it_waits(self) -> None:
        def turn_the_switch() -> None:
            self.inputs = InputStates(inhibit_remote=1)

        self.bus.before_writing = turn_the_switch
        self.assertFalse(self.do(self.source.write(AUTO)))
        self.assertEqual(self.bus.written, [])

    def test_not_wanted_any_more_while_it_waits(self) -> None:
        why: list[str] = []
        self.bus.before_writing = lambda: why.append("it had waited for 10 s")
        self.assertFalse(self.do(self.source.write(AUTO, lambda: why[0] if why else None)))
        self.assertFalse(self.do(self.source.set_port(2, 1, lambda: why[0])))
        self.assertEqual((self.bus.written, self.wiring.changes), ([], []))

    def test_wiring(self) -> None:
        self.wiring.works = False
        self.assertFalse(self.do(self.source.set_port(4, None)))
        self.wiring.works = True
        self.assertTrue(self.do(self.source.set_port(4, None)))
        self.assertEqual(self.wiring.changes, [(4, None)] * 2)
