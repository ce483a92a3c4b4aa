"""A gateway between pymodbus' controller and the real server: what is read here is known there, and done here."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.defer import fail
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.bus import Line
from cmmd.gateway.link.source import InputStates
from cmmd.modbus.frames import Function, WriteCoilRequest
from cmmd.modbus.image import RegisterImage
from cmmd.server.login import Advertised, UploadTerms
from cmmd.store.interface import StoreUnavailable
from cmmd.wire.errors import Reason
from tests.gateway_world import HISTORIC, LIVE, GatewayWorld
from tests.uploads import AT_REST, STANDBY
from tests.world import HOSTID

HOLDING = Function.READ_HOLDING_REGISTERS
BOTH = Advertised(str(LIVE), str(HISTORIC))
CHANGES = UploadTerms(data_mode=0)
ALL_SENT_S = 60.0


class GatewayTestCase(SynchronousTestCase):
    def make(self, **settings: Any) -> GatewayWorld:
        self.world = world = GatewayWorld(Path(self.mktemp()), **settings)
        world.genset.registers = dict(STANDBY)
        world.genset.coils = set(AT_REST)
        self.addCleanup(self.stop, world)
        return world

    def stop(self, world: GatewayWorld) -> None:
        """Stop it, which leaves nothing behind."""
        world.stop()
        self.assertEqual(world.network.connections, [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def byte_order_known(self, world: GatewayWorld) -> None:
        """Have the server know how to read change uploads, as of a gateway that has reported before."""
        world.server.fleet.uploads.byte_order_decided(HOSTID, "big")

    def outage(self, seconds: float) -> None:
        self.world.network.cut()
        self.world.run(seconds)

    def back(self, seconds: float = ALL_SENT_S) -> None:
        self.world.network.up = True
        self.world.run(seconds)

    def assert_known(self) -> None:
        """The server knows all that the controller has."""
        world, known = self.world, self.world.known
        for address in [*range(45), *range(46, 56)]:
            said = known.image.register(Function.READ_HOLDING_REGISTERS, address)
            self.assertEqual(said, world.genset.register(address), f"register {address}")
        for address in range(90):
            self.assertEqual(known.coil(address), world.genset.coil(address), f"coil {address}")

    def unknown(self) -> set[int]:
        """The registers of its plan that the server does not know for certain."""
        return {place for place in [*range(45), *range(46, 56)] if self.world.known.register(place) is None}

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [dict(event.details) for event in self.world.server.events if event.kind == kind]


class UploadTests(GatewayTestCase):
    def test_all_values_in_both_data_modes(self) -> None:
        for terms in (UploadTerms(), CHANGES):
            world = self.make(terms=terms)
            world.start()
            self.byte_order_known(world)
            self.assert_known()
            world.genset.registers.update({6: 4990, 17: 90, 42: 1, 43: 2, 55: 77})
            world.genset.coils = {7, 42, 72, 89}
            world.run(7)
            self.assert_known()
            self.assertEqual(world.server.counters.packet_gaps, 0)
            self.assertEqual(dict(world.server.counters.peer_errors), {})
            self.assertEqual(world.server.counters.uploads["change"] > 0, terms is CHANGES)

    def test_the_byte_order_is_found_out(self) -> None:
        """Until it is, what changes is not known; it is never taken for something else."""
        world = self.make(terms=CHANGES)
        world.start()
        self.assert_known()
        for frequency, unknown in ((4990, {6}), (4991, {6}), (4992, set[int]())):
            world.genset.registers[6] = frequency
            world.run(7)
            self.assertEqual(self.unknown(), unknown)
        self.assertEqual(world.known.byte_order, "big")
        self.assert_known()

    def test_an_answer_that_does_not_come_makes_nothing_wrong(self) -> None:
        for terms in (UploadTerms(), CHANGES):
            world = self.make(terms=terms, line=Line(url="/dev/ttyUSB0", timeout_s=0.1, retries=0, quiet_s=0.1))
            world.cable.drops = lambda frame: frame[3] == 0 and frame[1] == HOLDING  # registers from 0 on
            world.start()
            self.assertEqual(self.unknown(), set(range(45)))
            self.byte_order_known(world)
            world.genset.registers[50] = 21
            world.run(7)
            self.assertEqual(world.known.register(50), 21)
            world.cable.drops = lambda _: False
            world.run(7)
            self.assert_known()
            self.assertEqual(self.events("alarm_raised"), [])
            self.stop(world)

    def test_the_first_full_set_without_a_block(self) -> None:
        """Its values come as changes, and are all known then."""
        world = self.make(terms=CHANGES, line=Line(url="/dev/ttyUSB0", timeout_s=0.1, retries=0, quiet_s=0.1))
        world.cable.drops = lambda frame: frame[1] == HOLDING
        world.start()
        self.assertEqual(len(self.unknown()), 55)
        self.byte_order_known(world)
        world.cable.drops = lambda _: False
        world.run(6)
        self.assert_known()
        self.assertEqual(world.server.counters.uploads["full"], 1)

    def test_a_block_that_is_not_answered_any_more_is_not_known_any_more(self) -> None:
        """Not answered, or refused, in both data modes: nobody is told that an alarm is off that may be on."""
        for terms in (UploadTerms(), CHANGES):
            for exception in (0, 4):
                world = self.make(terms=terms)
                world.start(30)
                self.assert_known()
                answer = world.genset.answer

                def coils_fail(frame: bytes, answer: Any = answer, world: Any = world, code: int = exception) -> Any:
                    if frame[1] != Function.READ_COILS:
                        return answer(frame)
                    world.genset.refuses = code
                    try:
                        return answer(frame) if code else None
                    finally:
                        world.genset.refuses = 0

                patch = self.patch(world.genset, "answer", coils_fail)
                world.genset.coils |= {19}  # low oil pressure
                world.genset.registers[6] = 4970
                world.run(60)
                self.assertEqual([world.known.coil(coil) for coil in range(90)], [None] * 90)
                self.assertEqual((self.unknown(), world.known.register(6)), (set(), 4970), "the others are known")
                uploads = world.server.counters.uploads["full"]
                world.run(600)
                self.assertEqual(world.server.counters.uploads["full"] == uploads, terms is CHANGES, "told once")
                patch.restore()
                world.run(10)
                self.assert_known()
                self.assertEqual([one["signal"] for one in self.events("alarm_raised")], ["low_oil_pressure_shutdown"])
                self.assertEqual(world.server.counters.packet_gaps, 0)
                self.stop(world)

    def test_cable_out_and_in(self) -> None:
        world = self.make()
        world.start()
        reads, at = world.genset.asked, world.server.fleet.live[HOSTID].at
        world.cable.pull()
        world.run(60)
        self.assertEqual((world.genset.asked, world.server.fleet.live[HOSTID].at), (reads, at), "nothing is faked")
        self.assertTrue(world.source.silent)
        self.assertEqual([one["signal"] for one in self.events("alarm_raised")], ["controller_silent"])
        self.assertEqual(len(self.unknown()), 55, "nothing is certain any more")
        self.assertTrue(world.server.presence.online(HOSTID), "the device is there, its controller is not")
        world.genset.registers[6] = 4970
        world.cable.plugged = True
        world.run(30)
        self.assert_known()
        self.assertEqual(world.said("no controller answers"), 1)
        self.assertEqual([one["signal"] for one in self.events("alarm_cleared")], ["controller_silent"])

    def test_cable_out_and_in_with_changes(self) -> None:
        world = self.make(terms=CHANGES)
        world.start()
        world.run(6)
        world.cable.pull()
        world.run(60)
        self.assertEqual([one["signal"] for one in self.events("alarm_raised")], ["controller_silent"])
        self.assertEqual(len(self.unknown()), 55)
        world.genset.registers[6] = 4970
        world.cable.plugged = True
        world.run(30)
        self.assert_known()
        self.assertEqual([one["signal"] for one in self.events("alarm_cleared")], ["controller_silent"])

    def test_a_controller_that_refuses(self) -> None:
        """Exceptions are uploaded; the server raises its alarm."""
        world = self.make()
        world.start()
        world.genset.refuses = 4
        world.run(12)
        self.assertEqual([one["signal"] for one in self.events("alarm_raised")], ["controller_silent"])
        world.genset.refuses = 0
        world.run(6)
        self.assertEqual([one["signal"] for one in self.events("alarm_cleared")], ["controller_silent"])
        self.assert_known()

    def test_a_controller_slower_than_the_step(self) -> None:
        """Steps are left out, and none is stacked."""
        world = self.make(line=Line(url="/dev/ttyUSB0", timeout_s=2.0, retries=0, quiet_s=0.1))
        world.cable.drops = lambda frame: frame[1] == Function.READ_COILS
        world.start()
        cycles = world.source.cycles
        uploads = world.link.counters.uploads
        world.run(300)
        self.assertEqual((world.source.cycles - cycles, world.link.counters.uploads - uploads), (100, 100))
        world.cable.drops = lambda frame: frame[1] in (Function.READ_COILS, HOLDING)
        world.run(300)
        before = world.source.cycles
        world.run(900)
        self.assertEqual(world.source.cycles - before, 100, "6.3 s each: two of three steps are left out")

    def test_inputs(self) -> None:
        for terms in (UploadTerms(), CHANGES):
            world = self.make(terms=terms)
            world.inputs = InputStates(0, 0, None, 0)
            world.start()
            world.inputs = InputStates(1, 1, None, 0)
            world.run(4)
            world.inputs = InputStates(1, 0, None, 0)
            world.run(4)
            self.assertEqual([one["signal"] for one in self.events("alarm_raised")], ["access_alarm", "fire_alarm"])
            self.assertEqual([one["signal"] for one in self.events("alarm_cleared")], ["fire_alarm"])
            self.assert_known()
            self.assertEqual(world.server.counters.packet_gaps, 0)
            self.stop(world)


class CommandTests(GatewayTestCase):
    def test_done_and_shown(self) -> None:
        world = self.make()
        world.genset.coils = {*AT_REST, 42} - {41}
        world.start()
        sent = world.send("auto")
        world.run(10)
        self.assertEqual(sent.outcome, "done")
        self.assertEqual(world.genset.written, [(5, 3, [1])])
        self.assertEqual([one["after"] for one in self.events("mode_changed")], ["auto"])

    def test_several_frames(self) -> None:
        world = self.make()
        world.start()
        sent = world.write(";".join(WriteCoilRequest(0, coil, True).to_hex() for coil in (4, 3)))
        world.run(10)
        self.assertEqual((sent.outcome, len(world.genset.written)), ("done", 2))

    def test_refused_by_the_controller(self) -> None:
        world = self.make()
        world.start()
        world.genset.refuses = 4
        sent = world.send("auto")
        world.run(10)
        self.assertEqual((sent.outcome, world.genset.written), ("refused", []))

    def test_the_answer_gets_lost(self) -> None:
        """It was done, and nobody knows: never called failed, never written twice."""
        world = self.make()
        world.start()
        world.cable.drops = lambda frame: frame[1] == Function.WRITE_COIL
        sent = world.write(";".join(WriteCoilRequest(0, coil, True).to_hex() for coil in (4, 3)))
        world.run(60)
        self.assertEqual(sent.outcome, "timeout")
        self.assertEqual(world.genset.written, [(5, 4, [1])])
        self.assertEqual(world.said("it is unknown whether"), 1)

    def test_the_cable_is_out(self) -> None:
        world = self.make()
        world.start()
        world.cable.pull()
        world.run(1)
        sent = world.send("auto")
        world.run(10)
        self.assertEqual((sent.outcome, world.genset.written), ("refused", []))

    def test_between_polls_and_before_the_next_one(self) -> None:
        """A controller takes one request at a time; a write does not wait for the whole plan."""
        world = self.make()
        world.cable.delay_s = 0.8
        world.start()
        asked: list[int] = []
        answer = world.genset.answer

        def noting(frame: bytes) -> bytes | None:
            asked.append(frame[1])
            return answer(frame)

        self.patch(world.genset, "answer", noting)
        while asked[-1:] != [Function.READ_COILS]:
            world.run(0.1)
        asked.clear()
        sent = world.send("auto")
        world.run(10)
        self.assertEqual(sent.outcome, "done")
        self.assertEqual(asked[:3], [Function.WRITE_COIL, HOLDING, HOLDING])

    def test_one_that_waits_for_the_bus_is_not_sent_after_the_session(self) -> None:
        """Nobody expects it any more."""
        world = self.make()
        world.cable.delay_s = 0.8
        world.start()
        session, asked = world.link.session, world.genset.asked
        assert session is not None
        while world.genset.asked == asked:
            world.run(0.05)
        sent = world.write(WriteCoilRequest(0, 3, True).to_hex())
        while not session.obeying:
            world.run(0.05)
        world.network.cut()
        world.run(20)
        self.assertEqual((sent.outcome, world.genset.written), ("lost", []))

    def test_inhibited_at_the_gateway(self) -> None:
        """The server does not even try; and where it does not know of it yet, the gateway refuses."""
        world = self.make()
        world.start()
        world.inputs = InputStates(inhibit_remote=1)
        sent = world.send("auto")
        world.run(10)
        self.assertEqual((sent.outcome, world.genset.written), ("refused", []))
        self.assertIsNotNone(world.send("auto").refusal)

    def test_reset(self) -> None:
        world = self.make()
        world.start()
        logins = world.link.counters.logins
        sent = world.reset()
        world.run(10)
        self.assertEqual((sent.outcome, world.link.counters.logins), ("done", logins + 1))
        self.assertTrue(world.server.presence.online(HOSTID))
        self.assert_known()


class OutageTests(GatewayTestCase):
    def test_history_at_its_time_beside_the_live_uploads(self) -> None:
        for advertised in (Advertised(str(LIVE), str(LIVE)), BOTH):
            world = self.make(advertised=advertised)
            world.start(30)
            cut_at = world.clock.seconds()
            world.genset.registers[6] = 4900
            self.outage(100)
            world.genset.coils |= {19}  # low oil pressure, for a while
            world.run(50)
            world.genset.coils -= {19}
            world.run(50)
            world.genset.registers[6] = 5000
            self.back()
            historic = [one for one in world.readings() if one.reading.reason == "historic"]
            ages = [round(one.reading.at / 1000 - cut_at) for one in historic]
            for age, expected in zip(ages, (3, 63, 102, 153), strict=True):
                self.assertLess(abs(age - expected), 4)
            self.assertEqual({one.points["mains_frequency"] for one in historic}, {49.0})
            self.assertEqual(self.events("alarm_raised"), [], "history raises no alarms")
            self.assert_known()
            self.assertEqual((world.buffer.rows, world.network.made[HISTORIC.port]), (0, advertised is BOTH))
            self.assertTrue(world.server.presence.online(HOSTID))
            self.assertEqual(dict(world.server.counters.peer_errors), {})
            self.stop(world)

    def test_a_gateway_that_is_not_allowed_keeps_all_of_it(self) -> None:
        """It tries again, ever more slowly, and nothing of an outage is lost when its owner has allowed it."""
        world = self.make()
        world.allows_history = False
        world.start(30)
        cut_at = world.clock.seconds()
        self.outage(200)
        waiting = world.buffer.rows
        self.assertGreater(waiting, 3)
        self.back(3600)
        self.assertEqual((world.buffer.rows, world.server.counters.readings["historic"]), (waiting, 0))
        refused = world.server.counters.peer_errors[Reason.HISTORY_REFUSED]
        self.assertIn(refused, range(12, 40), "asked again, and not often")
        self.assertIn("history_refused", [alarm.signal for alarm in world.server.fleet.alarms.open_alarms(HOSTID)])
        said = [formatEvent(line) for line in world.log_lines]
        self.assertEqual(sum("history=true" in str(line) for line in said), 1)
        self.assertTrue(world.server.presence.online(HOSTID))
        world.allow_history()
        world.run(600)
        self.assertEqual((world.buffer.rows, world.link.counters.logins), (0, 2))
        historic = [one.reading for one in world.readings() if one.reading.reason == "historic"]
        self.assertEqual(len(historic), waiting)
        self.assertTrue(all(0 <= one.at / 1000 - cut_at <= 200 for one in historic))
        self.assertEqual({one.source for one in historic}, {"setting 192.0.2.7"})
        self.assertEqual(world.server.fleet.alarms.open_alarms(HOSTID), [])

    def test_inputs_of_the_outage_are_in_its_history(self) -> None:
        world = self.make()
        world.inputs = InputStates(0, 0, 0, 0)
        world.start(30)
        self.outage(10)
        world.inputs = InputStates(0, 1, 0, 0)
        world.run(10)
        world.inputs = InputStates(0, 0, 0, 0)
        world.run(10)
        self.back()
        historic = [one.reading for one in world.readings() if one.reading.reason == "historic"]
        last_of_each_moment = {one.at: one.inputs for one in historic}
        self.assertEqual(list(last_of_each_moment.values()), [0xF0, 0xF2, 0xF0])
        self.assertEqual(self.events("alarm_raised"), [])

    def test_a_command_while_history_is_sent(self) -> None:
        for advertised in (Advertised(str(LIVE), str(LIVE)), BOTH):
            world = self.make(advertised=advertised)
            world.start(30)
            self.outage(3600)
            world.network.up = True
            while world.server.counters.readings["historic"] < 3:
                world.run(0.1)
            self.assertGreater(world.buffer.rows, 20)
            sent = world.send("auto")
            begun = world.clock.seconds()
            while sent.outcome is None:
                world.run(0.1)
            self.assertLess(world.clock.seconds() - begun, 3)
            self.assertEqual(sent.outcome, "done")
            world.run(ALL_SENT_S)
            self.assertEqual(world.buffer.rows, 0)
            self.stop(world)

    def test_a_line_that_is_dead(self) -> None:
        """Nobody notices that it is; what is polled from then on is kept all the same."""
        for terms in (UploadTerms(), CHANGES):
            world = self.make(terms=terms)
            world.start(30)
            dead_at = world.clock.seconds()
            world.network.dead = True
            world.run(4)
            world.genset.coils |= {19}  # low oil pressure, before anybody could notice
            world.run(12)
            world.genset.coils -= {19}
            world.run(104)
            self.assertGreater(world.buffer.rows, 0)
            world.network.dead = False
            world.run(120)
            self.assertEqual((world.buffer.rows, world.link.counters.online), (0, 1))
            self.assert_known()
            historic = [one for one in world.readings() if one.reading.reason == "historic"]
            alarms = [
                round(one.reading.at / 1000 - dead_at)
                for one in historic
                if RegisterImage.from_bytes(one.reading.image).bit(Function.READ_COILS, 19)
            ]
            self.assertEqual(len(alarms), 1, alarms)
            self.assertIn(alarms[0], range(4, 8))
            self.stop(world)

    def test_a_server_whose_store_is_away(self) -> None:
        """History waits until it is back; and what is live is kept meanwhile."""
        world = self.make()
        world.start(30)
        self.outage(200)
        rows = world.buffer.rows
        patch = self.patch(world.server.store, "write", lambda _: fail(StoreUnavailable("disk full")))
        self.back(100)
        self.assertIn(world.buffer.rows, (rows + 1, rows + 2))
        world.genset.coils |= {19}
        world.run(300)
        world.genset.coils -= {19}
        world.run(300)
        patch.restore()
        world.run(400)
        self.assertEqual(world.buffer.rows, 0)
        times = [one.reading.at / 1000 for one in world.readings()]
        self.assertLess(max(later - earlier for earlier, later in pairwise(times)), 70)
        self.assertEqual((world.link.counters.logins, world.link.counters.online), (2, 1))
        self.assert_known()
