"""Devices as they are in the field, to the whole server: where they are, what they poll, how often they reconnect."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.commands.requests import Named
from cmmd.fleet.devices.places import KEPT_EVERY_S
from cmmd.fleet.devices.relogin import CLOSES_AFTER_S
from cmmd.modbus.frames import Function, ReadRequest, coils_response, registers_response
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device
from tests.scripted_server import run
from tests.support import compact, load_cases
from tests.transports import SegmentTransport
from tests.world import World

HOSTID = "3130373031334717003D0E00"
GRACE_S = 180.0
REGISTERS = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 45)
MORE_REGISTERS = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 46, 10)


class FieldTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(reconnect_grace_s=GRACE_S)

    def ask(self, transport: SegmentTransport, message: dict[str, Any]) -> bytes:
        before = len(transport.segments)
        transport.deliver(compact(message))
        transport.turns()
        if len(transport.segments) == before:
            self.world.write_batch()
            transport.turns()
        (answer,) = transport.segments[before:]
        return answer

    def attached(self, **changed: Any) -> SegmentTransport:
        self.world.register(HOSTID, **changed)
        transport = self.world.connect()
        self.ask(transport, {"method": "LongCon", "hostid": HOSTID})
        return transport

    def upload(self, transport: SegmentTransport, *frames: str) -> bytes:
        return self.ask(transport, {"method": "reqdata", "hostid": HOSTID, "params": ";".join(frames)})

    def change(self, transport: SegmentTransport, **params: Any) -> bytes:
        return self.ask(transport, {"method": "reqdatachange", "hostid": HOSTID, "params": params})

    @property
    def device(self) -> Device:
        device = self.world.registry.device(HOSTID)
        assert device is not None
        return device

    def kinds(self) -> list[str]:
        return [event.kind for event in self.world.events if event.hostid == HOSTID]


class PlaceTests(FieldTestCase):
    """What a module with GPS uploads is the device's place."""

    def place(self) -> tuple[float | None, float | None, str | None]:
        return self.device.wgs84_longitude, self.device.wgs84_latitude, self.device.altitude

    def test_the_vector(self) -> None:
        (case,) = load_cases("place_in_change_upload")
        login, longcon, upload = case["messages"]
        self.ask(self.world.connect(), login)
        transport = self.world.connect()
        self.ask(transport, longcon)
        self.assertEqual(self.place(), (None, None, None))
        self.assertIn(b"000000", self.ask(transport, upload))
        self.assertEqual(self.place(), (113.6253, 34.7472, "120.5"))

    def test_it_survives_a_restart_and_a_login_without_a_fix(self) -> None:
        store = MemoryStore()
        self.world = World(store=store)
        live = self.attached(gpsen=1)
        self.change(live, longitude=113.6253, latitude=" 34.7472 ")
        (kept,) = (one for one in self.world.registry.devices())
        self.assertEqual((kept.wgs84_longitude, kept.longitude), (113.6253, "113.6253"))
        for longitude, latitude in (("0", "0"), ("", ""), ("0.000000", "0.0"), (None, None)):
            self.world.register(HOSTID, gpsen=1, longitude=longitude, latitude=latitude, altitude="0")
            self.assertEqual(self.place()[:2], (113.6253, 34.7472))
        self.world.register(HOSTID, gpsen=1, longitude="8.5", latitude="47.4", altitude="400")
        self.assertEqual(self.place(), (8.5, 47.4, "400"))

    def test_what_is_no_place(self) -> None:
        """It costs no value beside it, and the last place stays."""
        live = self.attached(gpsen=1, longitude="8.5", latitude="47.4")
        said: list[tuple[Any, Any]] = [("0", "0"), ("", ""), ("N", "E"), ("181", "5"), ({}, []), (True, True)]
        for number, (longitude, latitude) in enumerate([*said, ("1" * 300, "2"), (None, "3"), (7, None)]):
            place = {"longitude": longitude, "latitude": latitude}
            answer = self.change(live, **place, **{"01": [{"0000": f"{number:02X}"}]})
            self.assertIn(b"000000", answer)
            self.assertEqual(self.world.fleet.live[HOSTID].known.coil(0), bool(number & 1))
            run(self.world.clock, 2 * KEPT_EVERY_S)
        self.assertEqual(self.place()[:2], (8.5, 47.4))

    def test_a_receiver_at_rest_wanders(self) -> None:
        live = self.attached(gpsen=1, longitude="8.5", latitude="47.4")
        self.change(live, longitude="8.50020", latitude="47.40010")
        self.assertEqual(self.place()[:2], (8.5, 47.4))
        self.change(live, longitude="8.50050", latitude="47.40010")
        self.assertEqual(self.place()[:2], (8.5005, 47.4001))

    def test_on_the_road(self) -> None:
        """The newest place is kept, and no more than one a minute."""
        live = self.attached(gpsen=1)
        places = set()
        for step in range(200):
            self.change(live, longitude=f"8.{step:03}", latitude="47.4")
            run(self.world.clock, 3)
            places.add(self.place())
        self.assertLessEqual(len(places), 600 / KEPT_EVERY_S + 2)
        run(self.world.clock, KEPT_EVERY_S)
        self.assertEqual(self.place()[:2], (8.199, 47.4))

    def test_at_the_end_nothing_is_lost(self) -> None:
        live = self.attached(gpsen=1)
        for longitude in ("8.1", "8.2"):
            self.change(live, longitude=longitude, latitude="47.4")
        self.assertEqual(self.place()[0], 8.1)
        saved = self.world.fleet.save()
        self.world.write_batch()
        self.successResultOf(saved)
        (kept,) = _opened(self.world.store)
        self.assertEqual((kept.longitude, kept.wgs84_longitude), ("8.2", 8.2))

    def test_strangers_and_history_move_nothing(self) -> None:
        self.attached(gpsen=1, longitude="8.5", latitude="47.4")
        stranger = self.world.connect(peer="203.0.113.9")
        self.change(stranger, longitude="1.0", latitude="1.0")
        historic = self.world.connect(carries_commands=False)
        self.change(historic, longitude="2.0", latitude="2.0")
        run(self.world.clock, KEPT_EVERY_S)
        self.assertEqual(self.place()[:2], (8.5, 47.4))

    def test_coordinates_of_which_nobody_knows_the_kind(self) -> None:
        """What the module says is kept as it is, and is on no map."""
        live = self.attached(gpsen=None)
        for longitude in ("8.5", "0", "8.6", "8.6"):
            self.change(live, longitude=longitude, latitude="47.4")
            run(self.world.clock, KEPT_EVERY_S)
        self.assertEqual((self.device.longitude, self.place()), ("8.6", (None, None, None)))
        self.change(live, longitude="0", latitude="0")
        self.assertEqual(self.device.longitude, "8.6")

    def test_baidu_coordinates(self) -> None:
        live = self.attached(gpsen=0)
        self.change(live, longitude="116.41036949371029"[:20], latitude="39.92133699351021")
        longitude, latitude, _ = self.place()
        assert longitude is not None
        assert latitude is not None
        self.assertLess(abs(longitude - 116.3977) + abs(latitude - 39.9136), 0.01)


def _opened(store: Any) -> Any:
    opened: list[Any] = []
    store.open().addCallback(opened.append)
    return opened[0].devices


class OtherPlanTests(FieldTestCase):
    """A device that goes on with the plan of the server before."""

    def frames(self, coils: int, on: int) -> list[str]:
        polled = ReadRequest(1, Function.READ_COILS, 0, coils)
        return [
            coils_response(polled, [address == on for address in range(coils)]),
            registers_response(REGISTERS, [0] * 45),
            registers_response(MORE_REGISTERS, [0] * 10),
        ]

    def known_coils(self) -> list[int]:
        known = self.world.fleet.live[HOSTID].known
        return [address for address in range(90) if known.coil(address) is not None]

    def test_the_vector(self) -> None:
        (case,) = load_cases("plan_of_other_servers")
        login, longcon, upload = case["messages"]
        self.ask(self.world.connect(), login)
        transport = self.world.connect()
        self.ask(transport, longcon)
        self.ask(transport, upload)
        self.assertEqual(self.known_coils(), list(range(78)))
        self.assertEqual(self.world.fleet.live[HOSTID].unplaced, ())
        self.assertIs(self.world.fleet.live[HOSTID].known.coil(28), True)
        self.assertIn("alarm_raised", self.kinds())

    def test_it_is_led_to_a_login_once(self) -> None:
        live = self.attached()
        self.upload(live, *self.frames(78, 43))
        run(self.world.clock, CLOSES_AFTER_S - 0.1)
        self.assertFalse(live.write_closed)
        run(self.world.clock, 0.2)
        self.assertTrue(live.write_closed)
        self.assertNotIn(b"reset", b"".join(live.segments))
        live.hang_up()
        again = self.attached()
        for _ in range(100):  # it has learnt nothing
            self.upload(again, *self.frames(78, 43))
            run(self.world.clock, 60)
        self.assertFalse(again.write_closed)
        self.assertEqual(self.known_coils(), list(range(78)))
        self.upload(again, *self.frames(90, 43))
        self.assertEqual(self.known_coils(), list(range(90)))

    def test_what_the_other_plan_lacks_is_outdated(self) -> None:
        live = self.attached()
        self.upload(live, *self.frames(90, 85))
        self.assertIs(self.world.fleet.live[HOSTID].known.coil(85), True)
        self.upload(live, *self.frames(78, 43))
        self.assertEqual(self.known_coils(), list(range(78)))

    def test_a_login_by_itself_is_enough(self) -> None:
        live = self.attached()
        self.upload(live, *self.frames(78, 43))
        (case,) = load_cases("plan_of_other_servers")
        self.ask(self.world.connect(), case["messages"][0])
        run(self.world.clock, 60)
        self.assertFalse(live.write_closed)

    def test_a_command_under_way_is_not_cut_off(self) -> None:
        live = self.attached()
        self.upload(live, *self.frames(90, 43))
        sent = Deferred.fromCoroutine(
            self.world.fleet.dispatch.submit(HOSTID, Named(name="stop"), Requester("alice", "test"))
        )
        run(self.world.clock, 1)
        self.upload(live, *self.frames(78, 43))
        run(self.world.clock, 10)
        self.assertFalse(live.write_closed)
        submitted = self.successResultOf(sent)
        answer = {"method": "writeConfig", "hostid": HOSTID, "uid": submitted.command.uid}
        live.deliver(compact({**answer, "params": f"{submitted.command.request},1"}))
        self.assertEqual(self.successResultOf(submitted.ended).outcome, "done")
        run(self.world.clock, CLOSES_AFTER_S)
        self.assertTrue(live.write_closed)

    def test_other_lengths_stay_foreign(self) -> None:
        live = self.attached()
        for coils in (70, 86, 100):
            self.upload(live, *self.frames(coils, 43))
            self.assertEqual(self.known_coils(), [])
            self.assertEqual(len(self.world.fleet.live[HOSTID].unplaced), 1)
        self.upload(live, *self.frames(78, 43), self.frames(78, 44)[0])  # which one?
        self.assertEqual(self.known_coils(), [])
        self.upload(live, *self.frames(90, 43), self.frames(78, 44)[0])
        self.assertEqual(self.known_coils(), list(range(90)))
        run(self.world.clock, 60)
        self.assertFalse(live.write_closed)

    def test_a_stranger_closes_nothing(self) -> None:
        live = self.attached()
        stranger = self.world.connect(peer="203.0.113.9")
        self.upload(stranger, *self.frames(78, 43))
        run(self.world.clock, 60)
        self.assertFalse(live.write_closed)


class ReconnectTests(FieldTestCase):
    """Modules reconnect for seconds all day: events tell of what lasts longer."""

    def came_and_went(self) -> list[str]:
        return [kind for kind in self.kinds() if kind in ("online", "offline")]

    def test_short_interruptions_are_no_events(self) -> None:
        transport = self.attached()
        for away_s in (1, 5, 60, GRACE_S - 1):
            transport.hang_up()
            self.assertFalse(self.world.presence.online(HOSTID))  # at once
            run(self.world.clock, away_s)
            transport = self.attached()
            self.assertTrue(self.world.presence.online(HOSTID))
            run(self.world.clock, 100)
        self.assertEqual(self.came_and_went(), ["online"])

    def test_a_long_one_is(self) -> None:
        transport = self.attached()
        run(self.world.clock, 100)
        transport.hang_up()
        since = int(self.world.clock.seconds() * 1000)
        run(self.world.clock, GRACE_S - 1)
        self.assertEqual(self.came_and_went(), ["online"])
        run(self.world.clock, 2)
        self.assertEqual(self.came_and_went(), ["online", "offline"])
        self.assertEqual(self.world.events[-1].details, {"since": since, "suppressed": 0})
        self.attached()
        self.assertEqual(self.came_and_went(), ["online", "offline", "online"])

    def test_one_after_the_other(self) -> None:
        """Each device has its own time."""
        hostids = [f"{number:024}" for number in range(5)]
        transports = []
        for hostid in hostids:
            self.world.register(hostid)
            transports.append(self.world.connect())
            self.ask(transports[-1], {"method": "LongCon", "hostid": hostid})
        for transport in transports:
            transport.hang_up()
            run(self.world.clock, 10)
        self.ask(self.world.connect(), {"method": "LongCon", "hostid": hostids[1]})
        run(self.world.clock, GRACE_S)
        gone = [
            (event.hostid, event.at - int(str(event.details["since"])))
            for event in self.world.events
            if event.kind == "offline"
        ]
        self.assertEqual(gone, [(hostid, int(GRACE_S * 1000)) for hostid in (hostids[0], *hostids[2:])])

    def test_the_end_of_the_daemon_tells_them_all(self) -> None:
        self.attached().hang_up()
        self.world.presence.stop()
        self.assertEqual(self.came_and_went(), ["online", "offline"])
        self.attached().hang_up()  # what comes afterwards is told at once
        self.assertEqual(self.came_and_went(), ["online", "offline", "online", "offline"])
        self.assertEqual([call for call in self.world.clock.getDelayedCalls() if "OnlineEvents" in str(call)], [])
