"""A profile decodes what a reader knows."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers import profile as profile_module
from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.definition import Definition
from cmmd.controllers.entries import Signal
from cmmd.controllers.points import Value
from cmmd.controllers.profile import Profile, Reader

NORMAL_RUNNING = 9


class Known:
    """A reader: what is known, and how often it was asked."""

    def __init__(self, registers: dict[int, int] | None = None, coils: dict[int, bool] | None = None) -> None:
        self.registers = registers or {}
        self.coils = coils or {}
        self.asked = 0

    def coil(self, address: int) -> bool | None:
        self.asked += 1
        return self.coils.get(address)

    def register(self, address: int) -> int | None:
        self.asked += 1
        return self.registers.get(address)


NOTHING = Known()
SHIPPED = [load_catalog().for_moduletype(model) for model in ("HGM6120N", "HGM4020N", "")]


def active_signals(profile: Profile, reader: Known) -> list[Signal]:
    """The signals that are known to be active, in the order of the definition."""
    return [one for one in profile.definition.signals if profile.signal_state(one, reader)]


class ProfileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        catalog = load_catalog()
        self.profile = catalog.for_moduletype("HGM6120N")
        self.generic = catalog.for_moduletype("")

    def active(self, reader: Known) -> list[str]:
        return [one.name for one in active_signals(self.profile, reader)]


class PointsTests(ProfileTestCase):
    def test_values_by_name(self) -> None:
        points = self.profile.points(Known({6: 5000, 17: 65531, 42: 1, 43: 2, 24: 265, 29: 65436, 19: 32766}))
        self.assertEqual(points["mains_frequency"], 50.0)
        self.assertEqual(points["coolant_temperature"], -5)
        self.assertIsNone(points["run_time_hours"], "65538 or 10002")
        self.assertEqual(points["battery_voltage"], 26.5)
        self.assertEqual(points["power_factor"], -1.0)
        self.assertIsNone(points["oil_pressure"])
        self.assertIsNone(points["load"])
        self.assertEqual(sum(value is not None for value in points.values()), 4)

    def test_values_in_order(self) -> None:
        reader = Known({address: address for address in range(56)})
        self.assertEqual(
            dict(zip(self.profile.point_by_name, self.profile.values(reader), strict=True)), self.profile.points(reader)
        )
        self.assertEqual(reader.asked, 2 * (50 + 3))

    def test_generic_has_none(self) -> None:
        self.assertEqual(self.generic.points(Known({0: 1})), {})

    def test_words(self) -> None:
        mains = self.profile.point_by_name["mains_state"]
        self.assertEqual(self.profile.word(mains, 1), "abnormal")
        for value in (3, None, 1.0):
            self.assertIsNone(self.profile.word(mains, value))
        self.assertIsNone(self.profile.word(self.profile.point_by_name["load"], 1))


registers = st.one_of(st.sampled_from((0, 1, 32766, 32767, 32768, 65535)), st.integers(0, 65535))
points = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(("u16", "s16", "u32")), "scale": st.sampled_from((1, 0.1, 0.01, 10))},
        optional={"plausible": st.tuples(st.integers(-50, 0), st.integers(1, 6500))},
    ),
    max_size=12,
)


def values_one_by_one(profile: Profile, reader: Reader) -> list[Value]:
    """What Profile.values is a faster form of: each point reads its registers and converts them."""
    return [profile.value(point, reader) for point in profile.definition.points]


def spelt(values: Sequence[Value]) -> list[str]:
    """Values with their types: 50 and 50.0 are equal, and are not the same to a client."""
    return [repr(value) for value in values]


class SameValuesTests(ProfileTestCase):
    """Profile.values says what every point says for itself, whatever was decoded before."""

    @given(st.lists(st.dictionaries(st.integers(0, 90), registers), max_size=4))
    def test_shipped_profiles(self, images: list[dict[int, int]]) -> None:
        for profile in SHIPPED:
            for image in (*images, *images):
                self.assertEqual(spelt(profile.values(Known(image))), spelt(values_one_by_one(profile, Known(image))))

    @given(points, st.lists(st.lists(st.none() | registers, min_size=26, max_size=26), min_size=1, max_size=4))
    def test_any_profile(self, given_points: list[dict[str, object]], images: list[list[int | None]]) -> None:
        named = [
            {"name": f"p{number}", "title": "P", "address": 2 * number, **point}
            for number, point in enumerate(given_points)
        ]
        polls = [{"unit": 1, "function": 3, "address": 0, "count": 26}]
        definition = {"title": "Any", "models": ["ANY"], "polls": polls, "points": named}
        profile = Profile("any", msgspec.convert(definition, Definition))
        for image in (*images, *images):
            reader = Known({address: one for address, one in enumerate(image) if one is not None})
            self.assertEqual(spelt(profile.values(reader)), spelt(values_one_by_one(profile, reader)))

    def test_conversions_are_limited(self) -> None:
        self.patch(profile_module, "MOST_REMEMBERED", 3)
        for content in (*range(8), *range(8)):
            reader = Known(dict.fromkeys(range(56), content))
            self.assertEqual(spelt(self.profile.values(reader)), spelt(values_one_by_one(self.profile, reader)))
            self.assertLessEqual(max(map(len, self.profile._conversions)), 3)


class CompletenessTests(ProfileTestCase):
    def test_share_of_what_it_names(self) -> None:
        self.assertEqual(self.profile.completeness(NOTHING), 0)
        registers = {address: 0 for point in self.profile.definition.points for address in point.addresses}
        coils = {signal.address: False for signal in self.profile.definition.signals}
        self.assertEqual(self.profile.completeness(Known(registers, coils)), 1)
        self.assertEqual((len(registers), len(coils)), (53, 81))
        self.assertEqual(self.profile.completeness(Known(registers)), 53 / 134)
        self.assertIsNone(self.generic.completeness(Known(registers, coils)))


class FingerprintTests(ProfileTestCase):
    def test_of_the_points(self) -> None:
        self.assertRegex(self.profile.fingerprint, r"\A[0-9a-f]{16}\Z")
        self.assertNotEqual(self.profile.fingerprint, self.generic.fingerprint)
        definition = self.profile.as_written
        first, *others = definition.points
        same = Profile("other", replace(definition, title="Other"))
        self.assertEqual(same.fingerprint, self.profile.fingerprint)
        for changed in (replace(first, unit="kV"), replace(first, scale=0.1), replace(first, title="Voltage")):
            other = Profile("hgm6120n", replace(definition, points=(changed, *others)))
            self.assertNotEqual(other.fingerprint, self.profile.fingerprint)


class EngineTests(ProfileTestCase):
    def test_state(self) -> None:
        self.assertEqual(self.profile.engine_state(Known({34: 0})), "standby")
        self.assertEqual(self.profile.engine_state(Known({34: NORMAL_RUNNING})), "normal running")
        self.assertIsNone(self.profile.engine_state_number(Known({34: 16})), "there is no such state")
        for reader in (NOTHING, Known({34: 16}), Known({34: 32767})):
            self.assertIsNone(self.profile.engine_state(reader))

    def test_no_data_is_no_state(self) -> None:
        self.assertIsNone(self.profile.engine_state_number(Known({34: 32767})))
        self.assertIsNone(self.profile.engine_turns(Known({34: 32766})))

    def test_turns(self) -> None:
        turning = [state for state in range(16) if self.profile.engine_turns(Known({34: state}))]
        self.assertEqual(turning, [5, 6, 7, 8, 9, 10, 11])
        self.assertIs(self.profile.engine_turns(Known({34: 0})), False)
        self.assertIsNone(self.profile.engine_turns(NOTHING))

    def test_generic_has_none(self) -> None:
        reader = Known({34: 9})
        self.assertIsNone(self.generic.engine_state(reader))
        self.assertIsNone(self.generic.engine_state_number(reader))
        self.assertIsNone(self.generic.engine_turns(reader))


class ModeTests(ProfileTestCase):
    def test_the_one_that_is_set(self) -> None:
        for address, mode in ((40, "test"), (41, "auto"), (42, "manual"), (43, "stop")):
            coils = dict.fromkeys(range(40, 44), False)
            self.assertEqual(self.profile.mode(Known(coils={**coils, address: True})), mode)

    def test_not_known(self) -> None:
        for coils in ({}, dict.fromkeys(range(40, 44), False), {41: True, 42: True}):
            self.assertIsNone(self.profile.mode(Known(coils=coils)))
        self.assertIsNone(self.generic.mode(Known(coils={41: True})))


class SignalTests(ProfileTestCase):
    def test_active(self) -> None:
        reader = Known(coils={2: True, 8: True, 28: False, 41: True, 7: True, 5: True})
        self.assertEqual(
            self.active(reader), ["common_shutdown", "generator_on_load", "emergency_stop_shutdown", "auto_mode"]
        )
        self.assertEqual(
            [one.severity for one in active_signals(self.profile, reader)],
            ["shutdown", "status", "shutdown", "mode"],
        )
        self.assertEqual(self.active(NOTHING), [])
        self.assertEqual(active_signals(self.generic, reader), [])

    def test_at_rest(self) -> None:
        names = ["generator_undervoltage_warning", "generator_underfrequency_warning"]
        coils = {74: True, 76: True}
        for state in range(16):
            self.assertEqual(self.active(Known({34: state}, coils)), names if state in (8, 9) else [], state)
        self.assertEqual(self.active(Known({}, coils)), [])

    def test_state_of_one(self) -> None:
        plain = self.profile.signal_by_name["low_fuel_warning"]
        for coils, state in (({28: True}, True), ({28: False}, False), ({}, None)):
            self.assertIs(self.profile.signal_state(plain, Known(coils=coils)), state)

    def test_state_of_one_that_rests(self) -> None:
        resting = self.profile.signal_by_name["generator_undervoltage_warning"]
        for registers, coils, state in (
            ({34: 9}, {74: True}, True),
            ({34: 0}, {74: True}, False),
            ({}, {74: True}, None),
            ({34: 32767}, {74: True}, None),
            ({}, {74: False}, False),
            ({34: 9}, {}, None),
        ):
            self.assertIs(self.profile.signal_state(resting, Known(registers, coils)), state, (registers, coils))


class LookUpTests(ProfileTestCase):
    def test_names(self) -> None:
        self.assertEqual(repr(self.profile), "<Profile hgm6120n>")
        self.assertIsInstance(self.profile, Profile)
        self.assertEqual(self.profile.point_by_name["load"].address, 55)
        self.assertEqual(self.profile.command_by_name["auto"].frame, "00050003FF007DEB")
