"""``cmmd.simulator.fleet``: who the devices are, and that a thousand of them run as one."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from cmmd.modbus.frames import open_frame
from cmmd.simulator.device import SimulatedDevice
from cmmd.simulator.fault_profiles import Turn, parse_turns
from cmmd.simulator.fleet import Fleet, identities
from cmmd.wire.messages import Login, encode
from cmmd.wire.reading import read_from_device
from tests.scripted_server import LOGIN_SERVER, ScriptedServer, run


class IdentityTests(SynchronousTestCase):
    def test_the_same_seed_the_same_devices(self) -> None:
        self.assertEqual(list(identities(50, 7, "HGM6120N")), list(identities(50, 7, "HGM6120N")))
        self.assertEqual(list(identities(50, 7, "HGM6120N"))[:20], list(identities(20, 7, "HGM6120N")))

    def test_devices_of_seed_1_stay_who_they_are(self) -> None:
        """People keep servers with these devices in them: no release may change them."""
        self.assertEqual(
            [(one.hostid, one.password) for one in identities(2, 1, "HGM6120N")],
            [("85E4EA49BB480207D34B7DB1", "605316"), ("37BB3A54F9A8BFB89E3417DD", "820323")],
        )

    def test_other_seeds_other_devices(self) -> None:
        everybody = [one for seed in range(5) for one in identities(1000, seed, "HGM6120N")]
        self.assertEqual(len({one.hostid for one in everybody}), 5000)
        self.assertGreater(len({one.password for one in everybody}), 4900)

    def test_what_they_say_is_what_the_protocol_wants(self) -> None:
        for one in identities(12000, 3, "HGM6120N-4G"):
            message = Login(params=one)
            self.assertEqual(read_from_device(encode(message)), message)  # lengths and all
            self.assertRegex(one.hostid, r"\A[0-9A-F]{24}\Z")
            self.assertRegex(one.password, r"\A[0-9]{6}\Z")
            self.assertEqual((one.moduletype, one.modulePort, one.moduleBaud, one.gpsen), ("HGM6120N-4G", 2, 0, 1))
            assert one.latitude and one.longitude and one.altitude
            self.assertLess(abs(float(one.latitude)), 60)
            self.assertLess(abs(float(one.longitude)), 180)
            self.assertGreaterEqual(int(one.altitude), 0)

    def test_names(self) -> None:
        names = [one.hostname for one in identities(10000, 1, "HGM6120N")]
        self.assertEqual((names[0], names[998], names[9999]), ("Sim 0001", "Sim 0999", "Sim 10000"))


class FleetTests(SynchronousTestCase):
    def fleet(
        self,
        devices: int,
        data_mode: int | None = None,
        misbehave: Sequence[Turn] = (),
        model: str = "HGM6120N",
        calm: bool = False,
    ) -> Fleet:
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000.0
        self.server = ScriptedServer(self.clock)
        self.events: list[dict[str, Any]] = []
        self.made = Fleet(
            LOGIN_SERVER,
            devices=devices,
            seed=1,
            model=model,
            data_mode=data_mode,
            misbehave=misbehave,
            calm=calm,
            clock=self.clock,
            endpoints=self.server.endpoint,
            observer=self.events.append,  # type: ignore[arg-type]
        )
        self.addCleanup(self.stop)
        return self.made

    def stop(self) -> None:
        if not self.made.running:
            return
        stopped: Deferred[Any] = self.made.stopService()
        run(self.clock, 1)
        self.successResultOf(stopped)
        self.assertTrue(self.server.all_gone())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def lines(self) -> list[str]:
        return [event["log_format"].format(**event) for event in self.events]

    def test_all_log_in_within_two_seconds_but_not_at_once(self) -> None:
        fleet = self.fleet(1000)
        self.server.accepting = None
        fleet.startService()
        begin = self.clock.seconds()
        run(self.clock, 2.1)
        logins = [time - begin for time, address in self.server.attempts if address == LOGIN_SERVER]
        self.assertEqual(len(logins), 1000)
        self.assertLessEqual(max(logins), 2.0)
        self.assertEqual(len(set(logins)), 1000)
        self.assertGreater(max(logins), 1.5)

    def test_many_are_online(self) -> None:
        fleet = self.fleet(200)
        fleet.startService()
        run(self.clock, 1)
        self.assertEqual(fleet.counters.online, 200)

    def test_a_few_come_at_once(self) -> None:
        fleet = self.fleet(3)
        fleet.startService()
        run(self.clock, 0.1)
        self.assertEqual(fleet.counters.online, 3)

    def test_each_is_itself(self) -> None:
        self.fleet(5).startService()
        run(self.clock, 4)
        logins = [one.of("login")[0]["params"]["hostid"] for one in self.server.connections if one.of("login")]
        self.assertEqual(logins, [one.hostid for one in identities(5, 1, "HGM6120N")])
        uploads = {one.of("reqdata")[0]["params"] for one in self.server.connections if one.of("reqdata")}
        self.assertEqual(len(uploads), 5)

    def test_what_they_upload_answers_the_plan(self) -> None:
        self.fleet(1).startService()
        run(self.clock, 4)
        (upload, *_) = self.server.last.of("reqdata")
        self.assertEqual([frame[:6] for frame in upload["params"].split(";")], ["01010C", "01035A", "010314"])

    def test_calm_ones_stand_by_for_ever(self) -> None:
        for calm in (False, True):
            with self.subTest(calm=calm):
                self.fleet(4, data_mode=1, calm=calm).startService()
                run(self.clock, 1800)
                signals = {
                    one["params"].split(";")[0] for made in self.server.connections for one in made.of("reqdata")
                }
                self.assertEqual(len(signals) == 1, calm)
                self.stop()

    def test_they_answer_orders_as_told(self) -> None:
        self.fleet(2, misbehave=parse_turns("silent,none")).startService()
        run(self.clock, 1)
        for live in [one for one in self.server.connections if one.methods[0] == "LongCon"]:
            for uid in ("1", "2", "3", "4"):
                live.send({"result": "00050003FF007DEB", "datatype": 1, "uid": uid, "method": "writeConfig"})
            run(self.clock, 0.5)
            self.assertEqual([answer["uid"] for answer in live.of("writeConfig")], ["2", "4"])
        self.assertEqual(self.made.counters.commands, 8)

    def test_something_goes_wrong_within_minutes(self) -> None:
        self.fleet(10).startService()
        run(self.clock, 60)
        self.assertEqual(self.alarms(), 0)
        run(self.clock, 540)
        self.assertGreater(self.alarms(), 0)

    def alarms(self) -> int:
        """How many devices show the common alarm, coil 0, in their last upload."""
        frames = [one.of("reqdata")[-1]["params"].split(";")[0] for one in self.server.connections if one.of("reqdata")]
        self.assertEqual(len(frames), 10)
        return sum(open_frame(frame)[3] & 1 for frame in frames)

    def test_another_model_shows_other_registers(self) -> None:
        uploads = []
        for model in ("HGM6120N", "HGM4020N", "HGM6120N"):
            self.fleet(1, model=model).startService()
            run(self.clock, 4)
            self.assertEqual(self.server.connections[0].of("login")[0]["params"]["moduletype"], model)
            uploads.append(self.server.last.of("reqdata")[0]["params"])
            self.stop()
        self.assertEqual(uploads[0], uploads[2])
        self.assertNotEqual(uploads[0], uploads[1])

    def test_data_mode_overridden(self) -> None:
        self.fleet(1, data_mode=0).startService()
        run(self.clock, 30)
        self.assertEqual(len(self.server.last.of("reqdata")), 1)
        self.assertGreater(len(self.server.last.of("reqdatachange")), 3)

    def test_one_summary_when_it_changes_then_every_ten_seconds(self) -> None:
        self.fleet(100).startService()
        run(self.clock, 60.5)
        lines = self.lines()
        self.assertTrue(lines[0].startswith("100 of 100 devices online, "), lines[0])
        self.assertEqual(len(lines), 6)
        self.assertRegex(lines[-1], " 3[234] uploads/s")
        self.server.accepting = False
        for connection in self.server.connections:
            connection.lose()
        run(self.clock, 1)
        self.assertEqual(len(self.lines()), 7)
        self.assertTrue(self.lines()[-1].startswith("0 of 100 devices online, "))
        self.assertIn("100 failures (last: connection lost", self.lines()[-1])

    def test_a_server_that_is_not_there(self) -> None:
        self.fleet(50)
        self.server.accepting = False
        self.made.startService()
        run(self.clock, 100)
        lines = self.lines()
        self.assertLess(len(lines), 15)
        self.assertIn("0 of 50 devices online, 0 uploads/s", lines[0])
        self.assertIn("(last: cannot connect to login.example:21318: ", lines[0])
        self.server.accepting = True
        run(self.clock, 35)
        self.assertEqual(self.made.counters.online, 50)
        run(self.clock, 2)
        self.assertTrue(self.lines()[-1].endswith(" failures"), self.lines()[-1])

    def test_a_bug_is_told_in_full(self) -> None:
        def follow(*_: object) -> None:
            raise ZeroDivisionError

        self.patch(SimulatedDevice, "follow", follow)
        self.fleet(1).startService()
        run(self.clock, 0.5)
        errors = [event for event in self.events if event["log_level"] is LogLevel.critical]
        self.assertEqual([type(event["log_failure"].value) for event in errors], [ZeroDivisionError])

    def test_stop_while_they_come(self) -> None:
        self.fleet(200).startService()
        run(self.clock, 0.2)
        self.assertGreater(self.made.counters.online, 10)
        self.assertLess(self.made.counters.online, 190)
        self.stop()
        self.assertEqual(self.made.counters.online, 0)

    def test_stop_without_start(self) -> None:
        self.successResultOf(self.fleet(2).stopService())
