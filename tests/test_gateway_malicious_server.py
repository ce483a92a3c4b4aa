"""A gateway whose server is malicious, or in a stranger's hands: what it can and cannot bring about at the genset."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.allowed_writes import AllowedWrites, Everything, addresses_of
from cmmd.gateway.bus import Line, NoAnswer
from cmmd.gateway.link.address import Address, plain_hosts
from cmmd.gateway.link.source import InputStates, Source
from cmmd.gateway.poller import BusSource
from cmmd.gateway.port_settings import BAUD_RATES, REFUSED_FOR, PortSettings, Wires, wires_at_start
from cmmd.modbus.frames import (
    WriteCoilRequest,
    WriteCoilsRequest,
    WriteRegisterRequest,
    WriteRegistersRequest,
    WriteRequest,
    parse_plan,
)
from cmmd.wire.messages import LoginParams
from tests.fake_bus import FakeBus
from tests.scripted_server import HOSTID, LIVE_SERVER, LOGIN_SERVER, PLAN, login_answer, run
from tests.support import compact
from tests.test_gateway_link import LinkTestCase
from tests.world import CATALOG

UNIT = 7
AUTO, STOP = WriteCoilRequest(0, 3, True), WriteCoilRequest(0, 1, True)
BACK_AFTER = 5
LOG = Logger()


class AllowedWritesTests(SynchronousTestCase):
    def objection(self, request: WriteRequest, moduletype: str = "HGM6120N", **more: Any) -> str | None:
        return AllowedWrites(CATALOG, moduletype, UNIT, **more).objection(request)

    def test_the_commands_of_the_profile(self) -> None:
        for unit in (0, UNIT):
            for coil in range(7):
                self.assertIsNone(self.objection(WriteCoilRequest(unit, coil, True)))
            self.assertIsNone(self.objection(WriteCoilsRequest(unit, 0, (True,) * 7)))

    def test_other_units(self) -> None:
        for unit in range(256):
            if unit not in (0, UNIT):
                for request in (WriteCoilRequest(unit, 3, True), WriteRegisterRequest(unit, 3, 1)):
                    self.assertIn(
                        f"unit {unit} ", str(self.objection(request, coils=Everything(), registers=Everything()))
                    )

    def test_other_coils_and_registers(self) -> None:
        for request, what in (
            (WriteCoilRequest(0, 7, True), "coil 7"),
            (WriteCoilRequest(0, 65_535, False), "coil 65535"),
            (WriteCoilsRequest(0, 5, (True,) * 3), "coil 7"),
            (WriteRegisterRequest(0, 3, 1), "register 3"),
            (WriteRegistersRequest(0, 100, (1, 2)), "register 100"),
        ):
            self.assertEqual(self.objection(request), f"{what} is none that may be written here")

    def test_a_controller_without_a_profile(self) -> None:
        for coil in range(20):
            self.assertIn(f"coil {coil} ", str(self.objection(WriteCoilRequest(0, coil, True), "ABC")))

    def test_what_is_configured_beside_it(self) -> None:
        more: dict[str, Any] = {"coils": addresses_of(["30", "100-102"]), "registers": addresses_of([" 7 - 9 "])}
        for allowed in (
            WriteCoilRequest(0, 30, True),
            WriteCoilsRequest(UNIT, 100, (True,) * 3),
            WriteRegistersRequest(0, 7, (1, 2, 3)),
        ):
            self.assertIsNone(self.objection(allowed, **more))
        for refused in (WriteCoilsRequest(0, 100, (True,) * 4), WriteRegistersRequest(0, 6, (1, 2))):
            self.assertIsNotNone(self.objection(refused, **more))

    def test_addresses(self) -> None:
        self.assertEqual(addresses_of(["0", "65535", "3-5"]), {0, 65_535, 3, 4, 5})
        self.assertEqual(addresses_of([]), frozenset())
        for wrong in ("", "x", "-1", "5-3", "65536", "1,2", "0x10", "1-70000", "²"):
            self.assertRaises(ValueError, addresses_of, [wrong])

    def test_hosts(self) -> None:
        self.assertEqual(
            plain_hosts(["CMMD.example.", "::FFFF:192.0.2.1", "192.0.2.1", "[2001:DB8:0::1]", "fe80::1%eth0"]),
            {"cmmd.example", "192.0.2.1", "2001:db8::1", "fe80::1"},
        )


class OrderTests(LinkTestCase):
    """What it orders."""

    def feeding(self) -> Source:
        self.bus = FakeBus()
        self.wires: list[tuple[int | None, int | None]] = []
        self.allowed = AllowedWrites(CATALOG, "HGM6120N", UNIT)
        path = Path(self.mktemp())
        configured = Wires(2, 0)
        self.port_settings = PortSettings(
            configured,
            configured=configured,
            file=path,
            bus=_Rewired(),
            there={1: "", 2: ""},
            line_of=lambda wires: Line(url="/dev/ttyUSB0", baud_rate=BAUD_RATES[wires.module_baud]),
            log=LOG,
            back_after=BACK_AFTER,
        )
        return BusSource(
            lambda: LoginParams(hostid=HOSTID, hostname="G", password="1", moduletype="HGM6120N"),
            self.bus,
            wiring=self.port_settings,
            inputs=InputStates,
            catalog=CATALOG,
            unit=UNIT,
            objection=self.allowed.objection,
        )

    def test_writes_to_what_is_none_of_its_business(self) -> None:
        live = self.attached(1)
        requests: list[WriteRequest] = [
            *(WriteCoilRequest(unit, 3, True) for unit in (1, 17, 248, 255)),
            WriteCoilRequest(0, 9, True),
            WriteRegisterRequest(UNIT, 0, 1),
            WriteCoilsRequest(0, 0, (True,) * 100),
            WriteRegistersRequest(17, 0, (0,) * 10),
        ]
        with capturedLogs() as events:
            for number, request in enumerate(requests):
                live.send({"result": request.to_hex(), "datatype": 1, "uid": str(number), "method": "writeConfig"})
                run(self.clock, 1)
        self.assertEqual(self.bus.written, [])
        self.assertEqual(
            [answer["params"] for answer in live.of("writeConfig")], [f"{one.to_hex()},0" for one in requests]
        )
        self.assertEqual(len([event for event in events if "more of that is only counted" in event["log_format"]]), 1)
        live.send({"result": f"{AUTO.to_hex()};{STOP.to_hex()}", "datatype": 1, "uid": "x", "method": "writeConfig"})
        run(self.clock, 1)
        self.assertEqual([(one.unit, one.address) for one in self.bus.written], [(UNIT, 3), (UNIT, 1)])

    def test_a_flood_of_orders(self) -> None:
        live = self.attached(1)
        order = compact({"result": AUTO.to_hex(), "datatype": 1, "uid": "1", "method": "writeConfig"})
        for _ in range(50):
            live.send(order * 20)
        run(self.clock, 400)
        self.assertEqual(len(live.of("writeConfig")), 1000)  # each is answered, and none twice
        self.assertFalse(live.gone)

    def test_a_speed_at_which_nobody_answers(self) -> None:
        """It goes back by itself; the server cannot have the controller silent for long."""
        live = self.attached(10)
        for baud, accepted in ((1, True), (2, True), (1, False), (2, False)):
            plan = parse_plan(PLAN)
            if accepted:
                self.bus.troubles = {one.to_hex(): NoAnswer("wrong speed") for one in plan}
            live.send({"moduleBaud": baud, "datatype": 1, "uid": str(baud), "method": "writeConfig"})
            run(self.clock, 0.5)
            self.assertEqual("moduleBaud" in live.of("writeConfig")[-1], accepted)
            if accepted:
                run(self.clock, 3 * BACK_AFTER + 3)
                self.bus.troubles = {}
            run(self.clock, 10)
            self.assertEqual((self.port_settings.module_port, self.port_settings.module_baud), (2, 0))


class _Rewired:
    async def rewire(self, line: Line) -> None:
        pass


class FallbackTests(SynchronousTestCase):
    """Port and speed that the server has ordered, until the controller has answered there."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.port_settings = self.started()

    def started(self, **options: Any) -> PortSettings:
        configured = Wires(2, 0)
        return PortSettings(
            wires_at_start(self.path, configured, {1, 2}, LOG),
            configured=configured,
            file=self.path,
            bus=_Rewired(),
            there={1, 2},
            line_of=lambda wires: Line(url="/dev/ttyUSB0", baud_rate=BAUD_RATES[wires.module_baud]),
            log=LOG,
            **{"back_after": BACK_AFTER, **options},
        )

    def change(self, port: int | None, baud: int | None) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.port_settings.change(port, baud)))

    def rounds(self, *answered: bool) -> None:
        for one in answered:
            self.port_settings.polled(answered=one)

    @property
    def codes(self) -> tuple[int, int | None]:
        return self.port_settings.module_port, self.port_settings.module_baud

    def test_back_to_where_it_answered(self) -> None:
        self.rounds(True)
        self.assertTrue(self.change(1, 2))
        self.rounds(*[False] * (BACK_AFTER - 1))
        self.assertEqual(self.codes, (1, 2))
        self.rounds(False)
        self.assertEqual(self.codes, (2, 0))
        self.rounds(*[False] * 100)  # now something else is wrong
        self.assertEqual(self.codes, (2, 0))
        self.port_settings = self.started()
        self.assertEqual(self.codes, (2, 0))

    def test_over_several_changes(self) -> None:
        self.rounds(True)
        self.change(1, 2)
        self.change(1, 1)
        self.rounds(*[False] * BACK_AFTER)
        self.assertEqual(self.codes, (2, 0))

    def test_what_works_stays(self) -> None:
        self.rounds(True)
        self.change(None, 2)
        self.rounds(*[False] * (BACK_AFTER - 1), True, *[False] * 100)
        self.assertEqual(self.codes, (2, 2))
        self.port_settings = self.started()
        self.rounds(*[False] * 100)
        self.assertEqual(self.codes, (2, 2))

    def test_where_it_never_answered_before(self) -> None:
        """Somebody sets the right speed before the controller is switched on."""
        self.rounds(False, False)
        self.change(None, 2)
        self.rounds(*[False] * 100)
        self.assertEqual(self.codes, (2, 2))

    def test_a_restart_in_between(self) -> None:
        self.rounds(True)
        self.change(None, 2)
        self.port_settings = self.started()
        self.assertEqual(self.codes, (2, 2))
        self.rounds(*[False] * BACK_AFTER)
        self.assertEqual(self.codes, (2, 0))

    def test_it_is_not_tried_again_for_an_hour(self) -> None:
        self.rounds(True)
        self.change(None, 2)
        self.rounds(*[False] * BACK_AFTER, True)
        self.assertFalse(self.change(None, 2))
        self.assertTrue(self.change(1, None))
        self.rounds(*[True] * REFUSED_FOR)
        self.assertTrue(self.change(2, 2))

    def test_never(self) -> None:
        self.port_settings = self.started(back_after=0)
        self.rounds(True)
        self.change(None, 2)
        self.rounds(*[False] * 1000)
        self.assertEqual(self.codes, (2, 2))

    def test_no_change_is_allowed(self) -> None:
        self.port_settings = self.started(allowed=False)
        self.assertFalse(self.change(1, None))
        self.assertEqual(self.codes, (2, 0))


class RedirectTests(LinkTestCase):
    """Where it sends the uploads."""

    def went_to(self, live: str, historic: str = "", **options: Any) -> Address:
        self.prepare(**options)
        self.server.replies["login"] = login_answer(liveData=live, historic=historic or live)
        self.start(2)
        self.assertEqual(self.link.counters.online, 1)
        address = self.server.last.address
        self.stop()
        return address

    def test_hosts_that_are_followed(self) -> None:
        for live, hosts, expected in (
            (str(LIVE_SERVER), None, LIVE_SERVER),
            (str(LIVE_SERVER), ["*"], LIVE_SERVER),
            (str(LIVE_SERVER), [], LOGIN_SERVER),
            (str(LIVE_SERVER), ["LIVE.example."], LIVE_SERVER),
            ("login.example:5000", [], Address("login.example", 5000)),
            ("LOGIN.example:5000", [], Address("LOGIN.example", 5000)),
            ("192.0.2.7:5000", [], Address("192.0.2.7", 5000)),  # that is where it was reached
            ("[::ffff:192.0.2.7]:5000", [], Address("::ffff:192.0.2.7", 5000)),
            ("192.0.2.8:5000", [], LOGIN_SERVER),
            ("login.example.evil:5000", [], LOGIN_SERVER),
            ("127.0.0.1:22", [], LOGIN_SERVER),
        ):
            with self.subTest(live, hosts=hosts), capturedLogs() as events:
                self.assertEqual(self.went_to(live, follow_hosts=hosts), expected)
                said = [event for event in events if "follow_hosts" in (event["log_format"] or "")]
                self.assertEqual(len(said), int(expected == LOGIN_SERVER))
