"""What a gateway does with every order, whatever is in its way: the table, and the test that holds it.

``CASES`` is the contract of the gateway's order path, as data. Other tests and the documentation import it.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cmmd.controllers.catalog import load_catalog
from cmmd.gateway.allowed_writes import STOP_WAITS_S
from cmmd.gateway.bus import Line
from cmmd.gateway.link.command_executor import ORDER_PATIENCE_S, WAITING_COMMANDS
from cmmd.gateway.link.command_log import CommandLog, names_of
from cmmd.gateway.link.connection import SEND_GAP_S
from cmmd.gateway.link.orders import OrderAnswer
from cmmd.gateway.link.session import Session
from cmmd.gateway.link.source import InputStates, Source
from cmmd.gateway.poller import BusSource
from cmmd.modbus.frames import WriteCoilRequest, WriteRegisterRequest, WriteRequest
from cmmd.wire.messages import LoginParams, WriteConfig
from tests.fake_bus import FakeBus, FakeWiring
from tests.gateway_world import WRITE_COIL, GatewayWorld
from tests.scripted_server import HOSTID, RESET, Accepted, run
from tests.test_gateway_link import LinkTestCase

__all__ = ["CASES", "CONDITIONS", "ORDERS", "Case"]

CATALOG = load_catalog()
UNIT = 7
"""Of the controller: servers write to unit 00."""

_COILS = {"start": 0, "stop": 1, "test": 2, "auto": 3, "manual": 4, "breaker": 5}
_WRITES: dict[str, tuple[WriteRequest, ...]] = {
    **{name: (WriteCoilRequest(0, coil, True),) for name, coil in _COILS.items()},
    "stop to the controller's unit": (WriteCoilRequest(UNIT, 1, True),),
    "stop twice in one order": (WriteCoilRequest(0, 1, True),) * 2,
    "stop beside another frame": (WriteCoilRequest(0, 1, True), WriteCoilRequest(0, 3, True)),
    "stop coil off": (WriteCoilRequest(0, 1, False),),
    "stop to another unit": (WriteCoilRequest(UNIT + 1, 1, True),),
    "raw write": (WriteRegisterRequest(0, 48, 5),),
}
ORDERS = (*_WRITES, "port", "reset")
_STOPS = ("stop", "stop to the controller's unit", "stop twice in one order")

DONE, TWICE, NOT_DONE, WAITS = "carried out once", "each is carried out once", "not carried out", "waits"
"""What becomes of an order at the gateway. The stop orders are begun within 5 s wherever they are carried out."""

FRAMES_DONE, FRAMES_NOT_DONE, NOT_DONE_AT_ALL, CODES, RESET_ANSWER, NOTHING = (
    "frame,1",
    "frame,0",
    ",0",
    "the codes",
    "reset",
    "nothing",
)
"""What the server is told."""


class Case(NamedTuple):
    """One row of the contract.

    :ivar order: what the server orders. :ivar condition: what is in the way.
    :ivar expected: what becomes of the order. :ivar told: what the server is told about it.
    """

    order: str
    condition: str
    expected: str
    told: str


LOST = "the connection ends while it waits"

_Row = tuple[tuple[str, str], tuple[str, str], tuple[str, str], tuple[str, str]]

# Per condition, each with what the server is told: a stop, any other write, port and speed, reset.
_TABLE: dict[str, _Row] = {
    "nothing": ((DONE, FRAMES_DONE), (DONE, FRAMES_DONE), (DONE, CODES), (DONE, RESET_ANSWER)),
    "inhibit on": ((DONE, FRAMES_DONE), (NOT_DONE, FRAMES_NOT_DONE), (NOT_DONE, NOT_DONE_AT_ALL), (NOT_DONE, NOTHING)),
    "inhibit on, no profile": (
        (NOT_DONE, FRAMES_NOT_DONE),
        (NOT_DONE, FRAMES_NOT_DONE),
        (NOT_DONE, NOT_DONE_AT_ALL),
        (NOT_DONE, NOTHING),
    ),
    "inhibit is switched on while it waits": (
        (DONE, FRAMES_DONE),
        (NOT_DONE, FRAMES_NOT_DONE),
        (NOT_DONE, NOT_DONE_AT_ALL),
        (NOT_DONE, NOTHING),
    ),
    "queue full": ((DONE, FRAMES_DONE), (NOT_DONE, FRAMES_NOT_DONE), (NOT_DONE, NOT_DONE_AT_ALL), (NOT_DONE, NOTHING)),
    "one under way that never answers": ((DONE, FRAMES_DONE), (WAITS, NOTHING), (WAITS, NOTHING), (WAITS, NOTHING)),
    "waited too long": (
        (DONE, FRAMES_DONE),
        (NOT_DONE, FRAMES_NOT_DONE),
        (NOT_DONE, NOT_DONE_AT_ALL),
        (DONE, RESET_ANSWER),
    ),
    "a stop comes after it": (
        (DONE, FRAMES_DONE),
        (NOT_DONE, FRAMES_NOT_DONE),
        (NOT_DONE, NOT_DONE_AT_ALL),
        (NOT_DONE, NOTHING),
    ),
    LOST: (
        (DONE, NOTHING),
        (NOT_DONE, NOTHING),
        (NOT_DONE, NOTHING),
        (NOT_DONE, NOTHING),
    ),
    "repeat": ((TWICE, FRAMES_DONE), (TWICE, FRAMES_DONE), (TWICE, CODES), (DONE, RESET_ANSWER)),
}
CONDITIONS = tuple(_TABLE)


def _kind(order: str) -> int:
    """The column of an order in the table."""
    return 0 if order in _STOPS else {"port": 2, "reset": 3}.get(order, 1)


CASES: list[Case] = [
    Case(order, condition, *row[_kind(order)]) for condition, row in _TABLE.items() for order in ORDERS
]

UID, OTHER_UID = "7", "1"
OTHER = WriteRegisterRequest(0, 99, 1)
"""What is under way, or waits."""


def _message(order: str, uid: str = UID) -> dict[str, Any]:
    if order == "reset":
        return RESET
    head = {"datatype": 1, "uid": uid, "method": "writeConfig"}
    if order == "port":
        return {"modulePort": 4, "moduleBaud": 1, **head}
    return {"result": ";".join(request.to_hex() for request in _WRITES[order]), **head}


class ContractTests(LinkTestCase):
    def feeding(self) -> Source:
        self.bus = FakeBus()
        self.stopped_at: list[float] = []
        write_first = self.bus.write_first

        async def noting(request: WriteRequest, waits_s: float) -> None:
            self.stopped_at.append(self.clock.seconds())
            await write_first(request, waits_s)

        self.patch(self.bus, "write_first", noting)
        self.wiring = FakeWiring()
        self.inputs = InputStates()
        self.moduletype = "HGM6120N"
        source = BusSource(
            self.identity, self.bus, wiring=self.wiring, inputs=lambda: self.inputs, catalog=CATALOG, unit=UNIT
        )
        return CommandLog(source, names_of(CATALOG, self.moduletype), Logger(observer=lambda _: None))  # type: ignore[arg-type]

    def identity(self) -> LoginParams:
        return LoginParams(hostid=HOSTID, hostname="Real", password="123456", moduletype=self.moduletype)

    def test_every_case(self) -> None:
        self.assertEqual(len(set(CASES)), len(ORDERS) * len(CONDITIONS))
        for case in CASES:
            with self.subTest(case.order, condition=case.condition):
                self.prepare()
                live = self.attached()
                given_at = self.bring_about(live, case)
                self.assertEqual(self.told(live, case.order), [case.told] * (2 if case.expected == TWICE else 1), case)
                self.assertEqual(self.carried_out(live, case), {DONE: 1, TWICE: 2}.get(case.expected, 0), case)
                if case.order in _STOPS and case.expected != NOT_DONE:
                    self.assertLess(self.stopped_at[0] - given_at, STOP_WAITS_S + 0.01)
                self.stop()

    def test_nothing_that_was_ordered_before_a_stop_is_done_after_it(self) -> None:
        """Also what was under way: its next frames."""
        live = self.attached()
        under_way: Deferred[None] = Deferred()
        self.bus.answers = [under_way]
        start = _WRITES["start"][0].to_hex()
        live.send({**_message("start", OTHER_UID), "result": f"{OTHER.to_hex()};{start}"})
        live.send(_message("stop"))
        run(self.clock, 1)
        under_way.callback(None)
        self.assertEqual([one.address for one in self.bus.written], [OTHER.address, 1])
        run(self.clock, SEND_GAP_S)
        told = [(answer["uid"], answer["params"]) for answer in live.of("writeConfig")]
        self.assertEqual(told, [(OTHER_UID, f"{OTHER.to_hex()},1;{start},0"), (UID, _done("stop"))])

    def test_what_comes_after_a_stop_waits_for_it(self) -> None:
        live = self.attached()
        stopping: Deferred[None] = Deferred()
        self.bus.answers = [stopping]
        live.send(_message("stop"))
        live.send(_message("start"))
        run(self.clock, 1)
        self.assertEqual([one.address for one in self.bus.written], [1])
        stopping.callback(None)
        self.assertEqual([one.address for one in self.bus.written], [1, 0])

    def test_more_stops_than_can_wait(self) -> None:
        """The session lasts, for it would take those that wait with it."""
        live = self.attached()
        under_way: list[Deferred[None]] = [Deferred() for _ in range(100)]
        self.bus.answers = list(under_way)
        for number in range(WAITING_COMMANDS + 3):
            live.send(_message("stop", str(number)))
        run(self.clock, SEND_GAP_S)
        self.assertEqual([answer["uid"] for answer in live.of("writeConfig")], ["17", "18"])
        run(self.clock, STOP_WAITS_S + 0.1)
        self.assertEqual((len(self.bus.written), live.gone), (WAITING_COMMANDS + 1, False))
        for one in under_way:
            one.callback(None)

    def test_a_stop_and_the_end_of_the_connection(self) -> None:
        """Over a real bus: whenever the connection ends, each stop is sent once, and no start is behind it."""
        for after_s in (0.0, 0.05, 0.5, 1.0, 1.05, 1.5, 1.6, 2.5, 4.0):
            with self.subTest(after_s=after_s):
                world = GatewayWorld(Path(self.mktemp()))
                self.addCleanup(world.stop)
                world.start()
                session = world.link.session
                assert session is not None
                said: list[OrderAnswer] = []
                _one_is_never_answered(world, partial(_order, session, said))
                world.cable.drops = lambda _: False
                before = len(world.genset.written)
                _order(session, said, STOP_HEX)
                _order(session, said, STOP_HEX)
                _order(session, said, START_HEX)
                world.run(after_s)
                told, done = len(said), len(world.genset.written)
                world.network.cut()
                world.run(2 * STOP_WAITS_S + 1)
                written = world.genset.written[before:]
                self.assertEqual(written.count((5, 1, [1])), 2)
                self.assertEqual(world.genset.written[done:].count((5, 0, [1])), 0)
                self.assertEqual(len(said), told)
                self.assertIsNone(world.link.session)
                world.stop()

    def test_how_long_a_stop_takes(self) -> None:
        """From its arrival to the controller, over a real bus: see ``HURDLES`` and ``LINES``."""
        for (name, hurdle), line in product(HURDLES.items(), LINES):
            with self.subTest(name, url=line.url):
                world = GatewayWorld(Path(self.mktemp()), line=line)
                self.addCleanup(world.stop)
                world.start()
                session = world.link.session
                assert session is not None
                said: list[OrderAnswer] = []
                hurdle(world, partial(_order, session, said))
                before = len(world.genset.written)
                world.cable.drops = lambda _: False
                world.cable.plugged = True
                given_at = world.clock.seconds()
                _order(session, said, STOP_HEX)
                while (5, 1, [1]) not in world.genset.written[before:]:
                    world.run(0.05)
                    self.assertLess(world.clock.seconds() - given_at, STOP_WAITS_S + 0.1, name)
                world.run(20)
                self.assertEqual(world.genset.written[before:].count((5, 1, [1])), 1, "it is sent once")
                self.assertNotIn((5, 0, [1]), world.genset.written[before:], "no start comes after it")
                world.stop()

    # --- what is in the way ------------------------------------------------------------------------------------------

    def bring_about(self, live: Accepted, case: Case) -> float:
        """Give the order with that in the way, and let the time pass that it takes.

        :return: when the order was given.
        """
        under_way: Deferred[None] = Deferred()
        condition = case.condition
        if condition in ("queue full", "one under way that never answers", "waited too long"):
            self.occupy(live, under_way)
        if condition == "queue full":
            for _ in range(WAITING_COMMANDS):
                live.send({**_message("start", OTHER_UID), "result": OTHER.to_hex()})
        if condition == "inhibit on, no profile":
            self.moduletype = "HGM9999"
        if condition.startswith("inhibit on"):
            self.inputs = InputStates(inhibit_remote=1)
        if condition in ("inhibit is switched on while it waits", "a stop comes after it", LOST):
            self.occupy(live, under_way)
        given_at = self.clock.seconds()
        live.send(_message(case.order))
        if condition == "repeat":
            live.send(_message(case.order))
        run(self.clock, 1.0)
        if condition == "inhibit is switched on while it waits":
            self.inputs = InputStates(inhibit_remote=1)
            under_way.callback(None)
        elif condition == "a stop comes after it":
            live.send(_message("stop", OTHER_UID))
            under_way.callback(None)
        elif condition == LOST:
            live.lose()
        elif condition == "waited too long":
            run(self.clock, ORDER_PATIENCE_S)
            under_way.callback(None)
        run(self.clock, STOP_WAITS_S)
        return given_at

    def occupy(self, live: Accepted, under_way: Deferred[None]) -> None:
        """Have an order under way until the test says so."""
        self.bus.answers = [under_way]
        live.send({**_message("start", OTHER_UID), "result": OTHER.to_hex()})

    # --- what came of it ---------------------------------------------------------------------------------------------

    def told(self, live: Accepted, order: str) -> list[str]:
        """Give what the server was told, in the words of the table."""
        if order == "reset":
            return [RESET_ANSWER for _ in live.of("reset")] or [NOTHING]
        words = {_done(order): FRAMES_DONE, _done(order, 0): FRAMES_NOT_DONE, ",0": NOT_DONE_AT_ALL, None: CODES}
        return [words[answer.get("params")] for answer in live.of("writeConfig") if answer["uid"] == UID] or [NOTHING]

    def carried_out(self, live: Accepted, case: Case) -> int:
        """Count how often an order was carried out."""
        if case.order == "reset":
            return int(live.gone if case.condition != LOST else live.disconnecting)  # by the gateway, that is
        if case.order == "port":
            return self.wiring.changes.count((4, 1))
        wanted = [replace(request, unit=request.unit or UNIT) for request in _WRITES[case.order]]
        written = [request for request in self.bus.written if request.address != OTHER.address]
        if case.condition == "a stop comes after it":
            self.assertEqual(written.pop(), WriteCoilRequest(UNIT, 1, True))
        times = len(written) // len(wanted)
        self.assertEqual(written, wanted * times, case)
        return times


STOP_HEX, START_HEX = (_WRITES[name][0].to_hex() for name in ("stop", "start"))

Hurdle = Callable[[GatewayWorld, Callable[[str], None]], None]


def _order(session: Session, said: list[OrderAnswer], result: str) -> None:
    """Have a session write something, and note what it says to that."""
    session.obey(WriteConfig(result=result, datatype=1, uid=UID), said.append)


def _ten_wait(world: GatewayWorld, order: Callable[[str], None]) -> None:
    for _ in range(10):
        order(START_HEX)


def _one_is_never_answered(world: GatewayWorld, order: Callable[[str], None]) -> None:
    world.cable.drops = lambda frame: frame[1] == WRITE_COIL
    _ten_wait(world, order)
    world.run(0.1)


def _one_waits_for_an_answer_that_is_owed(world: GatewayWorld, order: Callable[[str], None]) -> None:
    _one_is_never_answered(world, order)
    world.run(2.5)  # the same start again, which has to wait


def _an_earlier_stop_was_not_answered(world: GatewayWorld, order: Callable[[str], None]) -> None:
    world.cable.drops = lambda frame: frame[1] == WRITE_COIL
    order(STOP_HEX)
    world.run(0.2)


def _inhibit_is_on(world: GatewayWorld, order: Callable[[str], None]) -> None:
    _one_is_never_answered(world, order)
    world.inputs = InputStates(inhibit_remote=1)


def _nothing_answers(world: GatewayWorld, order: Callable[[str], None]) -> None:
    world.cable.drops = lambda _: True
    world.run(10)


def _nothing_answers_for_long(world: GatewayWorld, order: Callable[[str], None]) -> None:
    world.cable.drops = lambda _: True
    world.run(120)
    while world.bus.line.remote and world.bus.is_open:  # the connection ends, and a pause follows
        world.run(0.05)


def _the_port_was_not_there(world: GatewayWorld, order: Callable[[str], None]) -> None:
    world.cable.pull()
    world.run(120)


LINES = (Line(url="/dev/ttyUSB0"), Line(url="socket://192.0.2.7:4001"))

HURDLES: dict[str, Hurdle] = {
    "ten orders wait": _ten_wait,
    "one under way is never answered": _one_is_never_answered,
    "one under way waits for an answer that is owed": _one_waits_for_an_answer_that_is_owed,
    "an earlier stop was not answered": _an_earlier_stop_was_not_answered,
    "the inhibit input is on": _inhibit_is_on,
    "no request was answered until now": _nothing_answers,
    "no request was answered for two minutes": _nothing_answers_for_long,
    "the port was not there until now": _the_port_was_not_there,
}


def _done(order: str, done: int = 1) -> str:
    return ";".join(f"{request.to_hex()},{done}" for request in _WRITES.get(order, ()))
