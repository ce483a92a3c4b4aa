"""The same is told at every door."""

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.inputs import Origin
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from tests.control_world import HeldSession
from tests.doors import KINDS, HttpDoor, open_doors
from tests.uploads import AT_REST, HGM6120N_PLAN, STANDBY, change_upload, full_upload
from tests.world import HOSTID, World

ANSWERS_S = 0.2


class _Obeying(HeldSession):
    """A device that does what it is told, a moment later."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._clock = world.clock

    def round_trip(
        self, message: WriteConfig | Reset, timeout_s: float, leaves: Callable[[], bool]
    ) -> Deferred[WriteConfigAnswer | ResetAnswer]:
        answer = super().round_trip(message, timeout_s, leaves)
        order = self.sent[-1]
        if isinstance(message, WriteConfig) and isinstance(message.modulePort, int):
            done = WriteConfigAnswer(modulePort=2, moduleBaud=0, hostid=HOSTID, uid=str(message.uid))
            self._clock.callLater(ANSWERS_S, answer.callback, done)
        else:
            self._clock.callLater(ANSWERS_S, order.obeyed)
        return answer


class DoorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.register()
        self.device = _Obeying(self.world)
        self.world.presence.attach(HOSTID, self.device)
        self.world.fleet.uploads.full(full_upload(STANDBY, set(AT_REST)), HGM6120N_PLAN, historic=False)
        self.doors = open_doors(self.world, Path(self.mktemp()))
        self.amp, self.http, self.cmmctl = self.doors

    def inhibit(self) -> None:
        self.world.fleet.uploads.change(
            change_upload(InhbitRemote=1), historic=False, origin=lambda: Origin("198.51.100.9")
        )

    def test_every_kind(self) -> None:
        for door in self.doors:
            self.assertEqual({kind: door.command(kind) for kind in KINDS}, dict.fromkeys(KINDS, "done"), door)
            self.assertEqual(door.command("explode"), "unknown_command")
            self.assertEqual(door.command("write", frames="00"), "bad_frame")
        self.assertEqual(len(self.device.sent), len(self.doors) * len(KINDS))

    def test_locked(self) -> None:
        for door in self.doors:
            self.assertEqual(door.lock("belt"), "done")
            for other in self.doors:
                told = {kind: other.command(kind) for kind in KINDS}
                self.assertEqual(told, {**dict.fromkeys(KINDS, "locked"), "stop": "done", "reset": "done"})
            self.assertEqual(door.unlock(), "done")
            self.assertEqual(door.command("start"), "done")

    def test_lock_of_another_caller(self) -> None:
        for door, refused in zip(self.doors, ("admin_only", "admin_only", "not_confirmed"), strict=True):
            admin = HttpDoor(door.serving, role="admin")
            self.assertEqual(admin.lock(), "done")
            self.assertEqual(door.lock(), "locked")
            self.assertEqual(door.unlock(), refused)
            self.assertEqual(door.unlock(force=True), "done")

    def test_inhibited(self) -> None:
        admin = HttpDoor(self.http.serving, role="admin")
        for door in (self.amp, self.cmmctl, admin):
            self.inhibit()
            told = {kind: door.command(kind) for kind in KINDS}
            self.assertEqual(told, {**dict.fromkeys(KINDS, "remote_inhibited"), "stop": "done"})
            told = {kind: door.command(kind, override="remote_inhibited") for kind in KINDS}
            self.assertEqual(told, dict.fromkeys(KINDS, "done"))
            self.assertEqual(door.clear_input(), "done")
            self.assertEqual(door.command("start"), "done")
        self.assertEqual(self.http.command("start", override="remote_inhibited"), "admin_only")
        self.assertEqual(self.http.clear_input(), "forbidden")

    def test_what_is_told_later(self) -> None:
        self.world.presence.detach(HOSTID, self.device)
        silent = HeldSession()
        self.world.presence.attach(HOSTID, silent)
        for door in self.doors:
            asked = door.begin("start")
            self.world.clock.advance(1)
            self.assertIsNone(asked.told)
            silent.sent[-1].obeyed(0)
            self.assertEqual(door.wait(asked), "refused")
