"""The short ways of uploads have the outcome of the general ones, whatever an upload holds."""

from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.telemetry import telemetry
from cmmd.fleet.telemetry.register_state import RegisterState
from cmmd.fleet.telemetry.shortcuts import overwrite, overwrite_changes
from cmmd.modbus.frames import UploadLayout, parse_plan, read_response
from cmmd.store.records import ByteOrder
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange
from tests.world import HOSTID, World

ENGINE_REGISTER = 34
PLAN = parse_plan("01010000005ABC31;01030000002D85D7;0103002E000AA5C4")

# What an HGM6120N says, so that alarms and events follow: alarming coils, engine states, and anything else.
bits = st.integers(0, 2**96 - 1) | st.sampled_from([0, 1 << 6, 1 << 6 | 1 << 41, 0b111 << 60, 1 << 95])
registers = st.lists(st.integers(0, 0xFFFF) | st.integers(0, 20), min_size=55, max_size=55)


@st.composite
def frames(draw: st.DrawFn) -> list[str]:
    values = draw(registers)
    words = b"".join(value.to_bytes(2, "big") for value in values)
    payloads = [draw(bits).to_bytes(12, "little"), words[:90], words[90:]]
    return [read_response(request, payload) for request, payload in zip(PLAN, payloads, strict=True)]


def _damage(frame: str) -> str:
    return frame[:-1] + ("0" if frame[-1] != "0" else "1")


ODD: list[Any] = [
    lambda texts: texts,
    lambda texts: [text.lower() for text in texts],
    lambda texts: texts[:2],
    lambda texts: texts[::-1],
    lambda texts: [texts[0], texts[2], texts[1]],
    lambda texts: [*texts, texts[0]],
    lambda texts: [texts[0], _damage(texts[1]), texts[2]],
    lambda texts: [texts[0], "", *texts[1:]],
    lambda texts: [texts[0], "018302C0F1", texts[2]],
    lambda texts: [texts[0], "xx" + texts[1][2:], texts[2]],
    lambda texts: [texts[0] + " ", *texts[1:]],
    lambda texts: [texts[0][:10] + " " + texts[0][10:], *texts[1:]],
    lambda texts: [texts[0] + texts[1][:2], texts[1][2:], texts[2]],  # as long, and the same when put together
    lambda texts: [texts[0] + " " + texts[1], texts[2]],
    lambda texts: ["02" + text[2:] for text in texts],
]

full = st.builds(lambda texts, odd: ReqData(hostid=HOSTID, params=";".join(odd(texts))), frames(), st.sampled_from(ODD))
nothing = st.sampled_from([ReqData(hostid=HOSTID, params=text) for text in ("", None, ";", " ; ")])

addresses = st.integers(0, 60).map("{:04X}".format) | st.sampled_from(
    ["002b", "002B", "00 2B", "0x2B", "2B", "", "FFFF", "0800", "00002B", "zzzz", "0028", "0056", "0058"]
)
values = st.binary(min_size=2, max_size=2).map(bytes.hex) | st.sampled_from(
    ["0500", "0005", "", "00", "40", "000000", "00000000", "zz", "0 0", "ab cd", "F" * 4, "1" * 24, "ffff" * 40]
)
items = st.lists(st.dictionaries(addresses, values, max_size=4), max_size=6)
coils = st.lists(
    st.dictionaries(
        st.sampled_from(["0000", "0008", "0028", "0030", "0050", "0051", "0058", "0059", "0060", "07F8"]),
        st.binary(max_size=3).map(bytes.hex) | st.just("40"),
        max_size=3,
    ),
    max_size=3,
)
Decided = tuple[ByteOrder | None, bool]
"""A byte order that is decided, if any, and whether by a profile or an operator: else it stays on trial."""

byte_orders: st.SearchStrategy[Decided] = st.sampled_from(
    [(None, False), ("little", True), ("big", True), ("little", False), ("big", False)]
)
flags = st.sampled_from([None, None, None, 0, 1])
change = st.builds(
    lambda coils, f03, odd, number, alarm: ReqDataChange(
        hostid=HOSTID, params=ChangeParams(f01=coils, f03=f03, packetnum=number, **odd), AlarmInput=alarm
    ),
    coils,
    items,
    st.sampled_from([{}, {}, {}, {"f02": [{"0000": "01"}]}, {"f04": [{"0000": "0001"}]}]),
    st.none() | st.integers(0, 5),
    flags,
)


class Device:
    """A device of a world whose uploads go the short ways, or never do."""

    def __init__(
        self, moduletype: str, *, shortcuts: bool, byte_order: ByteOrder | None = None, fixed: bool = True
    ) -> None:
        self.world = World(interval_s=1e6)
        self.world.register(moduletype=moduletype)
        self.record = self.world.fleet.live[HOSTID]
        if byte_order is not None:
            self.record.known = RegisterState(byte_order, fixed=fixed)
        plan = self.world.fleet.uploads.plan(HOSTID)
        assert plan.requests == PLAN or moduletype != "HGM6120N"
        if not shortcuts:
            plan.layout = General(PLAN)
        self.plan = plan

    def take(self, message: ReqData | ReqDataChange) -> None:
        if isinstance(message, ReqData):
            self.world.fleet.uploads.full(message, self.plan, historic=False)
        else:
            self.world.fleet.uploads.change(message, historic=False)
        self.world.write_batch()

    def known(self) -> tuple[object, ...]:
        record, known = self.record, self.record.known
        return (
            [None if image is None else image.to_bytes() for image in (known.image, known.older, known.undecided)],
            (known.byte_order, known.byte_order_state),
            (record.upload, record.unit, record.inputs, record.packetnum, record.packet_gaps, record.unplaced),
            (record.states, record.baseline, record.suspects, record.weighing, known.hidden),
            (record.situation, record.unsettled, record.fruitless, record.suppressed),
            self.world.fleet.alarms.open_alarms(HOSTID),
            [(event.kind, event.details) for event in self.world.events],
            (dict(self.world.counters.frames), dict(self.world.counters.readings), self.world.counters.suppressed),
        )


class General(UploadLayout):
    """Sees nothing that it expects."""

    __slots__ = ()

    def frames(self, text: str) -> bytes | None:
        return None


class SameOutcomeTests(SynchronousTestCase):
    moduletype = "HGM6120N"

    def compare(self, uploads: list[ReqData | ReqDataChange], decided: Decided) -> None:
        byte_order, fixed = decided
        short = Device(self.moduletype, shortcuts=True, byte_order=byte_order, fixed=fixed)
        general = Device(self.moduletype, shortcuts=False, byte_order=byte_order, fixed=fixed)
        for upload in uploads:
            short.take(upload)
            with mock.patch.object(telemetry, "overwrite_changes", lambda *_: None):
                general.take(upload)
            self.assertEqual(short.known(), general.known(), upload)

    @settings(max_examples=60, deadline=None)
    @given(first=frames(), more=st.lists(full | change | change | nothing, max_size=8), decided=byte_orders)
    @example(first=[read_response(one, bytes(one.payload_length)) for one in PLAN], more=[], decided=(None, False))
    def test_any_uploads(self, first: list[str], more: list[ReqData | ReqDataChange], decided: Decided) -> None:
        self.compare([ReqData(hostid=HOSTID, params=";".join(first)), *more], decided)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(full | change | nothing, max_size=8), byte_orders)
    def test_any_uploads_of_a_device_of_which_nothing_is_known(
        self, uploads: list[ReqData | ReqDataChange], decided: Decided
    ) -> None:
        self.compare(uploads, decided)


class ShortTests(SynchronousTestCase):
    """That they are taken at all, and what by."""

    def setUp(self) -> None:
        self.device = Device("HGM6120N", shortcuts=True)
        self.upload = [read_response(one, bytes(one.payload_length)) for one in PLAN]
        self.device.take(ReqData(hostid=HOSTID, params=";".join(self.upload)))
        self.record = self.device.record

    def full(self, params: str) -> bool | None:
        layout = self.device.plan.layout
        frames = layout.frames(params)
        return None if frames is None else overwrite(self.record.known, self.record.watch, layout, frames)

    def change(self, coils: Any = (), registers: Any = ()) -> tuple[int, bool] | None:
        layout = self.device.plan.layout
        return overwrite_changes(self.record.known, self.record.watch, layout, list(coils), list(registers))

    def test_full_uploads(self) -> None:
        self.assertIs(self.full(";".join(self.upload)), False)
        watched = read_response(PLAN[0], (self.record.watch.coil_mask & 2**90 - 1).to_bytes(12, "little"))
        self.assertIs(self.full(";".join([watched, *self.upload[1:]])), True)
        engine = bytearray(90)
        engine[2 * ENGINE_REGISTER + 1] = 5
        other = [watched, read_response(PLAN[1], bytes(engine)), self.upload[2]]
        self.assertIs(self.full(";".join(other)), True)
        self.assertIs(self.full(";".join(other)), False)

    def test_what_fills_up_the_last_byte_is_none_of_it(self) -> None:
        surplus = read_response(PLAN[0], bytes(11) + b"\xfc")
        before = self.record.known.image.to_bytes()
        self.assertIs(self.full(";".join([surplus, *self.upload[1:]])), False)
        self.assertEqual(self.record.known.image.to_bytes(), before)

    def test_not_where_the_areas_are_others(self) -> None:
        self.record.known.image.forget(PLAN[1].function, 3, 1)
        self.assertIsNone(self.full(";".join(self.upload)))
        self.device.take(ReqData(hostid=HOSTID, params=";".join(self.upload)))
        self.assertIs(self.full(";".join(self.upload)), False)
        self.record.known.outdate(PLAN[2].function, PLAN[2].address, 2)
        self.assertIsNone(self.full(";".join(self.upload)))

    def test_change_uploads(self) -> None:
        self.assertIsNone(self.change([], [{"0000": "0100"}]), "the byte order is open")
        self.record.known.decide("little", self.record.profile)
        self.assertEqual(self.change([{"0000": "01"}], [{"0000": "0100"}, {"0001": "0200", "002F": "0000"}]), (4, True))
        self.assertEqual(self.record.known.image.registers(PLAN[1].function, 0, 3), (1, 2, 0))
        self.assertEqual(self.change([], [{"0000": "0100"}]), (1, False))
        self.record.known.byte_order = "big"
        self.assertEqual(self.change([], [{"0000": "0001"}]), (1, False))
        self.assertEqual(self.record.known.image.registers(PLAN[1].function, 0, 1), (1,))
        self.record.known.byte_order = "little"
        engine = f"{ENGINE_REGISTER:04X}"
        self.assertEqual(self.change([], [{engine: "0500"}]), (1, True))
        self.assertEqual(self.change([], [{engine: "0500"}]), (1, False))
        self.assertIsNone(self.change([], [{"0000": "0001"}]), "another high byte may contradict what was found out")
        self.assertEqual(self.change([], [{"002F": "0F00"}]), (1, False))
        self.assertEqual(self.change([], [{"002F": "1000"}]), (1, True), "a counter is looked at now and then")

    def test_nothing_is_taken_where_one_item_is_odd(self) -> None:
        before = self.record.known.image.to_bytes()
        odd = [{"0001": "05"}, {"0001": "050000"}, {"0001": "zz"}, {"002D": "0500"}, {"2b": "0500"}, {"0900": "0500"}]
        for item in odd:
            self.assertIsNone(self.change([{"0000": "01"}], [{"0000": "0500"}, item]), item)
            self.assertEqual(self.record.known.image.to_bytes(), before)
        for item in ({"0001": "01"}, {"0000": ""}, {"0058": "01"}, {"0100": "01"}):
            self.assertIsNone(self.change([item], [{"0000": "0500"}]), item)
            self.assertEqual(self.record.known.image.to_bytes(), before)
        self.assertIsNone(self.change())
        self.assertIsNone(self.change([], [{"0000": "0500"}, {"002F": "0500"}, {"0000": "0600"}]))  # to and fro
        self.assertEqual(self.record.known.image.to_bytes(), before)

    def test_not_where_something_is_uncertain(self) -> None:
        self.record.known.outdate(PLAN[2].function, PLAN[2].address, 2)
        self.assertIsNone(self.change([], [{"0000": "0500"}]))
