"""What owners decide about single devices: enrolment, settings, and what follows from them."""

import json
from collections.abc import Collection

from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.errors import AlreadyEnrolled, BadArgument, BadSetting, NoSuchDevice, RegistryFull
from cmmd.server.login import UploadTerms
from cmmd.store.records import Detail, Device
from tests.plain_device import login
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID, World


class EnrolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(policy="known", max_devices=3)

    def enrol(self, hostid: str, **more: str) -> "Deferred[Device]":
        return Deferred.fromCoroutine(self.world.registry.enrol(hostid, **more))

    def retcode(self, hostid: str, password: str) -> str:
        transport = self.world.connect()
        transport.deliver(login(hostid, password))
        transport.turns()
        code = json.loads(transport.segments[-1])["retcode"]
        assert isinstance(code, str)
        return code

    def test_a_device_that_is_to_come(self) -> None:
        self.assertEqual(self.retcode("A", "1234"), "000005")
        device = self.successResultOf(self.enrol("A", hostname="Yard\n3", moduletype="HGM6120N"))
        self.assertEqual((device.number, device.hostname, device.last_login_at), (1, "Yard 3", None))
        self.assertEqual(self.retcode("A", "1234"), "000000")
        self.assertEqual(self.retcode("A", "wrong"), "000004")

    def test_with_its_password(self) -> None:
        device = self.successResultOf(self.enrol("A", password="1234"))
        self.assertNotIn("1234", str(device.password_hash))
        self.assertEqual(self.retcode("A", "wrong"), "000004")
        self.world.clock.advance(60)
        self.assertEqual(self.retcode("A", "1234"), "000000")

    def test_what_cannot_be_enrolled(self) -> None:
        for hostid in ("", "A B", "Ä", "X" * 25, "a\n"):
            self.failureResultOf(self.enrol(hostid), BadArgument)
        self.successResultOf(self.enrol("A"))
        self.failureResultOf(self.enrol("A"), AlreadyEnrolled)
        self.successResultOf(gatherResults([self.enrol("B"), self.enrol("C")]))
        self.failureResultOf(self.enrol("D"), RegistryFull)
        self.assertEqual(len(self.world.registry), 3)


class SettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(terms=UploadTerms(data_mode=1, online_rate=3000, offline_rate=5000))
        self.world.register()

    def set(self, hostid: str = HOSTID, **changes: object) -> Device:
        return self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(hostid, "admin", **changes)))

    def test_kept_and_told_at_the_next_login(self) -> None:
        device = self.set(data_mode=0, online_rate=1000, set_port=1, set_baud=2)
        kept = self.successResultOf(self.world.store.open()).devices
        self.assertEqual(kept, [device])
        transport = self.world.connect()
        transport.deliver(login(HOSTID, modulePort=2, moduleBaud=0))
        transport.turns()
        result = json.loads(transport.segments[-1])["result"]
        told = [result[key] for key in ("data_mode", "online_rate", "offline_rate", "modulePort", "moduleBaud")]
        self.assertEqual(told, [0, 1000, 5000, 1, 2])
        device = self.set(data_mode=None, set_port=None)
        self.assertEqual((device.data_mode, device.online_rate, device.set_port), (None, 1000, None))

    def test_what_cannot_be_set(self) -> None:
        for name, value in (
            ("enabled", None), ("enabled", 1), ("history_interval", 0.5), ("history_interval", "60"), ("data_mode", 2),
            ("data_mode", True), ("online_rate", 99), ("online_rate", 1000.5), ("set_port", 5), ("set_baud", -1),
            ("profile", "nonsense"), ("profile", 3), ("password_hash", "x"), ("number", 1),
        ):  # fmt: skip
            done = Deferred.fromCoroutine(self.world.registry.set(HOSTID, "admin", **{name: value}))
            error = self.failureResultOf(done, BadSetting)
            self.assertTrue(str(error.value).startswith(name), error.value)
        done = Deferred.fromCoroutine(self.world.registry.set("nobody", "admin", data_mode=0))
        self.failureResultOf(done, NoSuchDevice)

    def test_own_interval(self) -> None:
        self.set(history_interval=5)
        uploads = self.world.fleet.uploads
        kept = []
        for _ in range(7):
            kept.append(uploads.full(full_upload(), HGM6120N_PLAN, historic=False) is not None)
            self.world.clock.advance(3)
        self.assertEqual(kept, [True, False, True, False, True, False, True])

    def test_another_profile(self) -> None:
        uploads, live = self.world.fleet.uploads, self.world.fleet.live
        uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        self.set(profile="generic")
        self.assertEqual(live[HOSTID].profile.name, "generic")
        self.assertEqual(self.world.events[-1].kind, "profile_changed")
        self.assertFalse(live[HOSTID].known.image)
        self.set(profile=None)
        self.assertEqual(live[HOSTID].profile.name, "hgm6120n")

    def offered(self) -> Collection[str]:
        return list(self.world.fleet.live[HOSTID].profile.command_by_name)

    def told(self) -> list[dict[str, Detail]]:
        return [event.details for event in self.world.events if event.kind == "setting_changed"]

    def test_a_profile_by_hand_gives_commands(self) -> None:
        """What is known of the controller stays known: its registers mean the same."""
        self.world.register(moduletype="HGM6100N")
        uploads, live = self.world.fleet.uploads, self.world.fleet.live
        uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
        uploads.byte_order_decided(HOSTID, "big")
        self.assertEqual(self.offered(), [])
        for profile, commands in (("hgm6120n", {"start", "stop", "mains_breaker_toggle"}), (None, set())):
            self.set(profile=profile)
            self.assertEqual(commands, commands.intersection(self.offered()))
            self.assertEqual(bool(commands), bool(self.offered()))
            self.assertEqual(live[HOSTID].profile.points(live[HOSTID].known)["mains_frequency"], 50.0)
            self.assertEqual(live[HOSTID].known.byte_order, "big")
        self.assertNotIn("profile_changed", [event.kind for event in self.world.events])

    def test_one_that_logs_in_as_another_model_loses_its_commands(self) -> None:
        for model, some in (("HGM6120N", True), ("HGM6120N V2", False), ("HGM6110N", False), ("HGM6120N", True)):
            transport = self.world.connect()
            transport.deliver(login(HOSTID, moduletype=model))
            transport.turns()
            self.assertEqual(bool(self.offered()), some, model)

    def test_after_a_restart(self) -> None:
        self.world.register(moduletype="HGM6110N")
        self.set(profile="hgm6110n")
        before = self.offered()
        self.assertIn("generator_breaker_open", before)
        self.world = World(store=self.world.store)
        self.assertEqual(self.offered(), before)

    def test_who_has_changed_what(self) -> None:
        self.set(profile="hgm6120n", data_mode=0)
        self.set(profile="hgm6120n", data_mode=None)
        self.set(enabled=False)
        self.assertEqual(
            self.told(),
            [
                {"setting": setting, "before": before, "after": after, "requester": "admin"}
                for setting, before, after in (
                    ("profile", None, "hgm6120n"),
                    ("data_mode", None, 0),
                    ("data_mode", 0, None),
                    ("enabled", True, False),
                )
            ],
        )
        refused = Deferred.fromCoroutine(self.world.registry.set(HOSTID, "admin", profile="hgm4000n", data_mode=7))
        self.failureResultOf(refused, BadSetting)
        self.assertEqual(len(self.told()), 4)

    def test_a_chosen_profile_that_is_gone(self) -> None:
        device = self.world.registry.device(HOSTID)
        assert device is not None
        record = self.world.fleet.live.new_record(replace(device, profile="mine"))
        self.assertEqual(record.profile.name, "hgm6120n")

    def test_disabled_is_out_at_once(self) -> None:
        transport = self.world.connect()
        transport.deliver(b'{"method":"LongCon","hostid":"%s"}' % HOSTID.encode())
        transport.turns()
        self.set(enabled=False)
        self.assertTrue(transport.write_closed)
        self.assertFalse(self.world.presence.online(HOSTID))
        other = self.world.connect()
        other.deliver(login(HOSTID))
        other.turns()
        self.assertEqual(json.loads(other.segments[-1])["retcode"], "000005")
