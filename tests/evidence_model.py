"""A model of modules and controllers that differ: nothing of what is read wrongly may be shown as good, raised or kept.

A model of a module with its controller uploads what such a one can say. Its truth is drawn at random: the byte order of
its change uploads, the scale, the words, the names of coils, how counters are to be read. In between cmmd restarts, the
controller is replaced by another one, the bus garbles a counter or loses a block, the device logs in anew or says that
it is inhibited, an old upload comes as history, and an administrator says how the device is to be read.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.telemetry.view import View, view_of
from cmmd.store.records import Query
from cmmd.wire.messages import ChangeParams, ReqData, ReqDataChange
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.world import HOSTID, World

COUNTERS = {"run_time_hours": 42, "starts": 46, "energy_generated": 48}
NAMED = {
    "v14": {54: "generator_breaker_failure_warning", 55: "mains_breaker_failure_warning", 79: "ecu_warning"},
    "v17": {54: "liquid_leak_shutdown", 62: "overcurrent_input_shutdown", 71: "low_oil_pressure_analog_shutdown"},
}
BLOCKS = {1: (0, 45), 2: (46, 56)}
"""Registers of the second and third request of the plan."""
TELLS = {"v14": 55, "v17": 62}
NONE = {"none_is_0": 0, "none_is_2": 2}
WORDS = {"none_is_0": ("none", "start delay", "stop delay"), "none_is_2": ("start delay", "stop delay", "none")}


@dataclass(frozen=True)
class Truth:
    """How a controller is to be read."""

    scale: str
    words: str
    names: str
    counters: str

    def frequency(self, hertz: float) -> int:
        return round(hertz * (100 if self.scale == "hundredths" else 10))

    def current(self, amperes: int) -> int:
        return amperes * (10 if self.scale == "hundredths" else 1)

    def words_of(self, value: int) -> tuple[int, int]:
        base = 65536 if self.counters == "binary" else 10_000
        return value // base, value % base


truths = st.builds(
    Truth,
    scale=st.sampled_from(["hundredths", "tenths"]),
    words=st.sampled_from(["none_is_0", "none_is_2"]),
    names=st.sampled_from(["v14", "v17"]),
    counters=st.sampled_from(["binary", "decimal"]),
)


@dataclass
class Genset:
    """What a controller holds: the truth, values in units, and coils."""

    truth: Truth
    counters: dict[str, int]
    version: int
    state: int = 0
    mains: float = 50.0
    mains_normal: bool = True
    generator: float = 0.0
    amperes: int = 0
    volts: int = 230
    delay: int = 0
    coils: set[int] = field(default_factory=set)
    locked: bool = False

    def registers(self) -> dict[int, int]:
        truth = self.truth
        remote = NONE[truth.words] if not self.delay else WORDS[truth.words].index("stop delay")
        found = {
            0: self.volts,
            6: truth.frequency(self.mains),
            13: truth.frequency(self.generator),
            14: truth.current(self.amperes),
            24: 268,
            34: self.state,
            36: remote,
            37: self.delay,
            50: self.version,
            51: 34,
        }
        for name, address in COUNTERS.items():
            found[address], found[address + 1] = truth.words_of(self.counters[name])
        return found

    def all_coils(self) -> set[int]:
        return {41, *self.coils, *({65} if self.mains_normal else ()), *({4} if self.locked else ())}

    def expected(self) -> dict[str, float]:
        return {
            "mains_voltage_l1_n": self.volts,
            "mains_frequency": self.mains,
            "generator_frequency": self.generator,
            "current_l1": self.amperes,
            "engine_state": self.state,
            "remote_start_delay": self.delay,
            **self.counters,
        }


hertz = st.integers(46, 64).map(float)
steps = st.fixed_dictionaries(
    {
        "do": st.sampled_from(
            [
                *("mains", "no mains", "idle", "crank", "run", "run", "coil", "delay", "count", "swap", "restart"),
                *("lost block", "login", "set", "set no more", "history", "inhibit", "lock"),
            ]
        ),
        "hertz": hertz,
        "low": st.integers(0, 20).map(float),
        "amperes": st.integers(0, 300),
        "coil": st.sampled_from([54, 55, 62, 71, 79]),
        "glitch": st.sampled_from([None, None, None, 0, 0xFFFFFFFF]),
        "uploads": st.integers(1, 4),
        "full": st.booleans(),
        "truth": truths,
        "by": st.integers(0, 3),
        "counters": st.tuples(st.integers(0, 60_000), st.integers(0, 60_000), st.integers(0, 200_000)),
    }
)

orders = st.sampled_from(["little", "big"])
first_counters = st.tuples(st.integers(0, 60_000), st.integers(0, 60_000), st.integers(0, 200_000))


class EvidenceModelCase(SynchronousTestCase):
    """Lives through what a device with some truth about it does."""

    def begin(self, order: str, truth: Truth, counters: tuple[int, int, int]) -> None:
        self.order: Any = order
        self.genset = Genset(truth, dict(zip(COUNTERS, counters, strict=True)), 43)
        self.sent: dict[int, int] = {}
        self.kept: dict[int, dict[str, float]] = {}
        self.said: tuple[ReqData, dict[str, float]] | None = None
        self.inhibited = False
        self.locked = False
        self.world = World(interval_s=0.5)
        self.world.register()

    # --- uploads -----------------------------------------------------------------------------------------------------

    def upload(
        self, *, full: bool, garbled: int | None = None, lost: int | None = None, inhibits: int | None = None
    ) -> None:
        """Have the device upload.

        :param inhibits: whether the module says that remote control is inhibited; None: it says nothing of that.

        :param garbled: the energy counter as the bus garbles it. :param lost: the block of the plan that is not read.
        """
        self.world.clock.advance(3)
        registers, coils = self.genset.registers(), self.genset.all_coils()
        if garbled is not None:
            registers[48], registers[49] = garbled >> 16, garbled & 0xFFFF
        uploads = self.world.fleet.uploads
        if full or not self.sent:
            upload = full_upload(registers, coils)
            if lost is not None:
                texts = (upload.params or "").split(";")
                upload = replace(upload, params=";".join(texts[:lost] + texts[lost + 1 :]))
                first, behind = BLOCKS[lost]
                registers = {at: self.sent.get(at, -1) if first <= at < behind else registers[at] for at in registers}
            elif garbled is None:
                self.said = upload, self.genset.expected()
            uploads.full(upload, HGM6120N_PLAN, historic=False)
        else:
            changed = [
                {f"{address:04X}": value.to_bytes(2, self.order).hex()}
                for address, value in registers.items()
                if self.sent[address] != value
            ]
            bytes_of = sum(1 << coil for coil in coils).to_bytes(12, "little")
            items = [{f"{8 * n:04X}": f"{byte:02X}"} for n, byte in enumerate(bytes_of)]
            params = ChangeParams(f01=items, f03=changed)
            message = ReqDataChange(params=params, hostid=HOSTID, InhbitRemote=inhibits)
            uploads.change(message, historic=False)
        self.sent = registers
        self.locked = self.genset.locked
        self.inhibited = self.inhibited if inhibits is None else bool(inhibits)
        self.world.write_batch()
        expected = self.genset.expected()
        self.kept[self.record.at or 0] = expected
        self.check(expected)

    @property
    def record(self) -> Any:
        return self.world.fleet.live[HOSTID]

    @property
    def view(self) -> View:
        return view_of(self.record, self.world.clock.seconds(), online=True)

    @property
    def held(self) -> tuple[bool, bool]:
        """Say whether remote control is inhibited by the module's input, and locked at the controller's panel."""
        return self.inhibited, self.locked

    # --- what must never be ------------------------------------------------------------------------------------------

    def check(self, expected: dict[str, float]) -> None:
        view = self.view
        self.assertEqual((view.inputs["remote_inhibited"] or False, self.record.remote_locked), self.held)
        points = self.record.profile.points(self.record.known)
        for point in view.points:
            if point.name in expected:
                if point.quality == "good":
                    self.assertEqual(point.value, expected[point.name], point.name)
                if points[point.name] is not None:
                    self.assertEqual(points[point.name], expected[point.name], f"exported {point.name}")
            elif point.name == "remote_start_state" and point.quality == "good":
                word = "stop delay" if self.genset.delay else "none"
                self.assertEqual(point.word, word)
        names = {alarm.signal for alarm in self.world.fleet.alarms.open_alarms(HOSTID)}
        for coils in NAMED.values():
            for coil, name in coils.items():
                if name in names:
                    self.assertEqual(NAMED[self.genset.truth.names].get(coil), name, "raised under a wrong name")
        for coil in self.genset.coils:
            found = {f"coil_{coil}", NAMED["v14"].get(coil), NAMED["v17"].get(coil), "liquid_leak_warning"}
            self.assertTrue(found & names, f"coil {coil} is silent")

    def check_history(self) -> None:
        for _ in range(60):
            self.world.clock.advance(0.2)
        reading = self.world.fleet.history.page(Query(hostid=HOSTID, limit=1000))
        page = self.successResultOf(Deferred.fromCoroutine(reading))
        for one in page.readings:
            for name, value in self.kept.get(one.reading.at, {}).items():
                if one.points[name] is not None:
                    found = one.points[name]
                    self.assertAlmostEqual(found, value, 2, f"kept {name}: {found}, not {value}")

    # --- what happens ------------------------------------------------------------------------------------------------

    def take(self, one: dict[str, Any]) -> None:
        genset = self.genset
        match one["do"]:
            case "mains":
                genset.mains, genset.mains_normal = one["hertz"], True
            case "no mains":
                genset.mains, genset.mains_normal = one["low"], False
            case "idle":
                genset.state, genset.generator, genset.amperes = 0, 0.0, 0
            case "crank":
                genset.state, genset.generator, genset.amperes = 3, one["low"], one["amperes"]
            case "run":
                genset.state, genset.generator, genset.amperes = 9, one["hertz"], one["amperes"]
            case "coil":
                coils = {one["coil"]} & NAMED[genset.truth.names].keys()
                genset.coils = coils
            case "delay":
                genset.delay = 0 if genset.delay else 5
            case "count":
                genset.counters["energy_generated"] += min(one["by"], 2)  # no faster than time
                genset.counters["starts"] += one["by"] > 2
            case "swap":
                counters = [value + 20_000 * (n + 1) for n, value in enumerate(one["counters"])]
                self.set(None)  # it would be wrong of the next one
                if all(abs(new - old) > 1000 for new, old in zip(counters, genset.counters.values(), strict=True)):
                    self.genset = Genset(one["truth"], dict(zip(COUNTERS, counters, strict=True)), genset.version + 1)
                    self.genset.delay = 0
                    self.said = None
            case "inhibit":
                self.upload(full=False, inhibits=int(not self.inhibited))
            case "lock":
                genset.locked = not genset.locked
            case "lost block":
                self.upload(full=True, lost=1 + one["by"] % 2)
            case "login":
                self.world.register()
                device = self.world.registry.device(HOSTID)
                assert device is not None
                self.world.fleet.logged_in(device)
            case "set":
                self.set(f"scale={genset.truth.scale}, energy_generated={genset.truth.counters}")
            case "set no more":
                self.set(None)
            case "history" if self.said is not None:
                upload, expected = self.said
                at = int(self.world.clock.seconds() * 1000) - 1500
                self.kept[at] = expected
                self.world.fleet.uploads.full(replace(upload, itime=at), HGM6120N_PLAN, historic=True)
                self.world.write_batch()
                self.check(genset.expected())
            case "restart":
                self.successResultOf(self.world.fleet.save())
                self.world = World(store=self.world.store, start_s=self.world.clock.seconds() + 1, interval_s=0.5)
                self.upload(full=True)

    def set(self, read_as: str | None) -> None:
        """Have an administrator say how the device is to be read."""
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "test", read_as=read_as)))

    def finish(self) -> None:
        """Show enough of everything: all is decided, and rightly."""
        self.set(None)
        genset = self.genset
        genset.state, genset.generator, genset.amperes, genset.delay = 9, 50.0, 120, 0
        genset.mains, genset.mains_normal, genset.coils = 50.0, True, {TELLS[genset.truth.names]}
        start = 65_536 + 9_990 if genset.truth.counters == "binary" else 19_990
        far = 400_000 if genset.truth.counters == "decimal" else 4 * 65_536
        genset.counters = {  # a jump that can be seen: a few units more in no time could be a step of the counter
            name: start if abs(start - now) > 1000 else start + far for name, now in genset.counters.items()
        }
        for _ in range(12):
            self.upload(full=True)
        for _ in range(14):
            self.world.clock.advance(3600)
            for name in COUNTERS:
                genset.counters[name] += 1
            self.upload(full=True)
        for number in range(14):
            genset.volts = 231 + number
            self.upload(full=False)
        self.upload(full=True)
        decided = {one.name: one.choice for one in self.view.hypotheses}
        truth = genset.truth
        expected = {"scale": truth.scale, "remote_start": truth.words, "names": truth.names, "byte_order": self.order}
        self.assertEqual(decided, {**expected, **dict.fromkeys(COUNTERS, truth.counters)})

    def live(self, order: str, truth: Truth, counters: tuple[int, int, int], happens: list[dict[str, Any]]) -> None:
        """Live through all of it; in the end all is decided."""
        self.begin(order, truth, counters)
        self.upload(full=True)
        for one in happens:
            self.take(one)
            for _ in range(one["uploads"]):
                self.upload(full=one["full"])
            if one["glitch"] is not None:
                self.upload(full=one["full"], garbled=one["glitch"])
                self.upload(full=one["full"])
        self.check_history()
        self.finish()
        self.check_history()
