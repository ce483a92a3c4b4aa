"""Property: whatever is found out, contradicted, set or read anew, a lock and an inhibit that were said count."""

from collections.abc import Callable

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from cmmd.fleet.devices.inputs import Origin
from cmmd.modbus.frames import Function
from cmmd.modbus.image import RegisterImage
from cmmd.store.records import Query
from cmmd.wire.messages import ChangeParams, ReqDataChange
from tests.test_evidence import TENTHS
from tests.test_evidence_doubt import COUNTERS, DoubtTestCase
from tests.uploads import AT_REST, HGM6120N_PLAN, full_upload
from tests.world import HOSTID

GOOD = {**TENTHS, **COUNTERS}
LOCKED = AT_REST | {4}


class InputsTests(DoubtTestCase):
    """The module has said that remote control is inhibited, and the controller that its panel locks it."""

    @property
    def happens(self) -> dict[str, Callable[[], object]]:
        """Name all that evidence, settings, restarts and strangers can do."""
        return {
            "scale": lambda: self.full(GOOD, LOCKED, times=5),
            "another scale": lambda: self.full({**GOOD, 6: 5000, 13: 5010}, LOCKED, times=5),
            "big": lambda: self.volts("big", 9),
            "little": lambda: self.volts("little", 9),
            "names": lambda: self.full(GOOD, LOCKED | {54, 55}, times=3),
            "other names": lambda: self.full(GOOD, LOCKED | {62}, times=5),
            "another controller": lambda: self.full({**GOOD, 47: 9000, 49: 9, 50: 20}, LOCKED, times=6),
            "nonsense": lambda: self.full(dict.fromkeys(range(45), 61184), LOCKED),
            "no coils": lambda: self.frames(GOOD, set(LOCKED), (1, 2)),
            "restart": self.restart,
            "login": self.log_in,
            "set": lambda: self.set(read_as="byte_order=little, scale=hundredths"),
            "set no more": lambda: self.set(read_as=None),
            "another profile": lambda: self.set(profile="hgm6110n"),
            "its own profile": lambda: self.set(profile=None),
            "history": lambda: self.tell_history(trusted=True),
            "a stranger's history": lambda: self.tell_history(trusted=False),
            "a stranger": self.let_a_stranger_say_no,
            "time": lambda: self.world.clock.advance(7200),
        }

    def log_in(self) -> None:
        self.world.register()
        device = self.world.registry.device(HOSTID)
        assert device is not None
        self.world.fleet.logged_in(device)

    def tell_history(self, *, trusted: bool) -> None:
        """Have uploads with a time say that nothing is locked and inhibited."""
        at = int(self.world.clock.seconds() * 1000) - 60_000
        upload = replace(full_upload(GOOD, AT_REST), itime=at)
        self.world.fleet.uploads.full(upload, HGM6120N_PLAN, historic=True, trusted=trusted)
        params = ChangeParams(f01=[{"0000": "00"}])
        change = ReqDataChange(params=params, hostid=HOSTID, InhbitRemote=0, itime=at)
        self.world.fleet.uploads.change(
            change, historic=True, trusted=trusted, origin=lambda: Origin("192.0.2.66", trusted=trusted)
        )
        self.world.write_batch()

    def let_a_stranger_say_no(self) -> None:
        """Have a session from elsewhere say that nothing is locked and inhibited."""
        self.world.fleet.uploads.full(full_upload(GOOD, AT_REST), HGM6120N_PLAN, historic=False, trusted=False)
        change = ReqDataChange(params=ChangeParams(f01=[{"0000": "00"}]), hostid=HOSTID, InhbitRemote=0)
        self.world.fleet.uploads.change(
            change, historic=False, trusted=False, origin=lambda: Origin("192.0.2.66", trusted=False)
        )
        self.world.write_batch()

    def test_a_stranger_and_a_restart(self) -> None:
        self.full(GOOD, LOCKED)
        self.let_a_stranger_say_no()
        for _ in range(2):
            self.restart()
            self.assertTrue(self.world.fleet.live[HOSTID].remote_locked)
        page = self.world.fleet.history.page(Query(hostid=HOSTID, limit=9))
        kept = self.successResultOf(Deferred.fromCoroutine(page)).readings
        said = [RegisterImage.from_bytes(one.reading.image).bit(Function.READ_COILS, 4) for one in kept]
        self.assertEqual(said, [True, False], "history has what was said")

    @settings(max_examples=30, phases=[Phase.explicit, Phase.generate])
    @given(st.data())
    def test_they_count(self, data: st.DataObject) -> None:
        self.setUp()
        self.full(GOOD, LOCKED)
        params = ChangeParams(f01=[{"0000": "10"}])
        said = ReqDataChange(params=params, hostid=HOSTID, InhbitRemote=1)
        self.world.fleet.uploads.change(said, historic=False)
        happened = data.draw(st.lists(st.sampled_from(sorted(self.happens)), min_size=1, max_size=10))
        for count, what in enumerate(happened, 1):
            self.happens[what]()
            record = self.world.fleet.live[HOSTID]
            found = self.view.inputs["remote_inhibited"], record.remote_locked
            self.assertEqual(found, (True, True), happened[:count])
        self.full(GOOD, AT_REST, times=2)
        said = ReqDataChange(params=ChangeParams(), hostid=HOSTID, InhbitRemote=0)
        self.world.fleet.uploads.change(said, historic=False)
        record = self.world.fleet.live[HOSTID]
        self.assertEqual((self.view.inputs["remote_inhibited"], record.remote_locked), (False, False))
