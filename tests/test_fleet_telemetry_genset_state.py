"""What a genset does, and what has happened between two uploads."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.definition import parse_definition
from cmmd.controllers.entries import ALARMING
from cmmd.controllers.profile import Profile
from cmmd.fleet.events import CATALOGUE, Kind
from cmmd.fleet.telemetry.genset_state import GensetState, StateDetector, differs, merged_state

STANDBY, CRANK, RUNNING = 0, 3, 9
MAINS_ON_LOAD, GENERATOR_ON_LOAD, MAINS_NORMAL = 6, 7, 65
TEST, AUTO, MANUAL, STOP = 40, 41, 42, 43
ENGINE_REGISTER = 34

tri_states = st.sampled_from((None, False, True))
engines = st.sampled_from(((None, None), (STANDBY, False), (CRANK, False), (RUNNING, True)))
situations = st.builds(
    lambda engine, **others: GensetState(*engine, **others),
    engine=engines,
    mode=st.sampled_from((None, "stop", "auto")),
    mains_on_load=tri_states,
    generator_on_load=tri_states,
    mains_normal=tri_states,
)


@dataclass
class Known:
    """A reader."""

    coils: dict[int, bool] = field(default_factory=dict)
    registers: dict[int, int] = field(default_factory=dict)

    def coil(self, address: int) -> bool | None:
        return self.coils.get(address)

    def register(self, address: int) -> int | None:
        return self.registers.get(address)


class WatchTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.catalog = load_catalog()
        self.profile = self.catalog.for_moduletype("HGM6120N")
        self.watch = StateDetector(self.profile)


class WatchedTests(WatchTestCase):
    def test_coils_and_register(self) -> None:
        watched = {address for address in range(90) if self.watch.coil_mask >> address & 1}
        alarming = {one.address for one in self.profile.definition.signals if one.severity in ALARMING}
        self.assertEqual(watched, alarming | {TEST, AUTO, MANUAL, STOP, MAINS_ON_LOAD, GENERATOR_ON_LOAD, MAINS_NORMAL})
        self.assertEqual(self.watch.register_masks[ENGINE_REGISTER], 0xFFFF)

    def test_a_profile_that_says_nothing(self) -> None:
        watch = StateDetector(self.catalog.for_moduletype("unheard of"))
        self.assertEqual((watch.coil_mask, watch.register_masks), (0, {}))
        self.assertEqual(watch.situation(Known({6: True}, {34: 9})), GensetState())

    def test_every_shipped_profile(self) -> None:
        for profile in self.catalog:
            self.assertEqual(StateDetector(profile).situation(Known()), GensetState(), profile)


class SituationTests(WatchTestCase):
    def test_all_known(self) -> None:
        coils = {MAINS_ON_LOAD: False, GENERATOR_ON_LOAD: True, MAINS_NORMAL: False, AUTO: True, MANUAL: False}
        self.assertEqual(
            self.watch.situation(Known(coils, {ENGINE_REGISTER: RUNNING})),
            GensetState(
                engine_state=RUNNING,
                engine_turns=True,
                mode="auto",
                mains_on_load=False,
                generator_on_load=True,
                mains_normal=False,
            ),
        )

    def test_no_data_is_not_known(self) -> None:
        self.assertEqual(self.watch.situation(Known({}, {ENGINE_REGISTER: 32767})), GensetState())

    def test_two_modes_are_none(self) -> None:
        self.assertIsNone(self.watch.situation(Known({AUTO: True, MANUAL: True})).mode)


class ChangesTests(WatchTestCase):
    def happened(self, before: GensetState, now: GensetState) -> list[tuple[Kind, dict[str, object]]]:
        return [(kind, dict(details)) for kind, details in self.watch.changes(before, now)]

    def test_a_mains_failure(self) -> None:
        """The order in which a person would tell it."""
        before = GensetState(
            engine_state=STANDBY, engine_turns=False, mains_normal=True, mains_on_load=True, generator_on_load=False
        )
        now = GensetState(
            engine_state=RUNNING, engine_turns=True, mains_normal=False, mains_on_load=False, generator_on_load=True
        )
        self.assertEqual(
            self.happened(before, now),
            [
                (Kind.MAINS_LOST, {}),
                (Kind.ENGINE_STARTED, {"state": "normal running"}),
                (Kind.BREAKER_CHANGED, {"breaker": "mains", "closed": False}),
                (Kind.BREAKER_CHANGED, {"breaker": "generator", "closed": True}),
            ],
        )
        self.assertEqual(
            self.happened(now, before),
            [
                (Kind.MAINS_RETURNED, {}),
                (Kind.ENGINE_STOPPED, {"state": "standby"}),
                (Kind.BREAKER_CHANGED, {"breaker": "mains", "closed": True}),
                (Kind.BREAKER_CHANGED, {"breaker": "generator", "closed": False}),
            ],
        )

    def test_mode(self) -> None:
        self.assertEqual(
            self.happened(GensetState(mode="stop"), GensetState(mode="auto")),
            [(Kind.MODE_CHANGED, {"before": "stop", "after": "auto"})],
        )

    def test_engine_states_that_are_no_start(self) -> None:
        """It cranks: noted, but no event."""
        before = GensetState(engine_state=STANDBY, engine_turns=False)
        now = GensetState(engine_state=CRANK, engine_turns=False)
        self.assertEqual(self.happened(before, now), [])
        self.assertTrue(differs(before, now))

    def test_a_state_without_a_word(self) -> None:
        now = GensetState(engine_state=77, engine_turns=False)
        self.assertEqual(
            self.happened(GensetState(engine_state=9, engine_turns=True), now), [(Kind.ENGINE_STOPPED, {"state": None})]
        )

    @given(situations, situations)
    def test_the_unknown_has_not_happened(self, before: GensetState, now: GensetState) -> None:
        self.assertEqual(self.happened(GensetState(), now), [])
        self.assertEqual(self.happened(before, GensetState()), [])
        self.assertEqual(self.happened(now, now), [])
        self.assertFalse(differs(GensetState(), now) or differs(before, GensetState()) or differs(now, now))
        self.assertEqual(merged_state(before, GensetState()), before)
        self.assertEqual(merged_state(GensetState(), now), now)

    @given(situations, situations)
    def test_whatever_happens(self, before: GensetState, now: GensetState) -> None:
        """Every event has the details of its kind; after a gap the same has happened as without one."""
        happened = self.happened(before, now)
        for kind, details in happened:
            self.assertEqual(details.keys(), set(CATALOGUE[kind].details))
        self.assertTrue(differs(before, now) or not happened)
        self.assertEqual(self.happened(merged_state(before, GensetState()), now), happened)
        self.assertEqual(self.happened(before, merged_state(before, now)), happened)


class SomeProfilesTests(SynchronousTestCase):
    def test_a_breaker_that_says_nothing_at_rest(self) -> None:
        profile = Profile(
            "p",
            parse_definition(
                """
                title = "P"
                polls = [{unit = 1, function = 1, address = 0, count = 8},
                         {unit = 1, function = 3, address = 0, count = 8}]
                [enums.state]
                0 = "standby"
                1 = "running"
                [engine]
                state = "state"
                turns = [1]
                [points]
                state = {title = "State", address = 5, enum = "state"}
                [signals]
                generator_on_load = {title = "On load", address = 2, severity = "status", only_in_engine_states = [1]}
                """
            ),
        )
        watch = StateDetector(profile)
        self.assertEqual((watch.coil_mask, watch.register_masks), (0b100, {5: 0xFFFF}))
        self.assertIs(watch.situation(Known({2: True}, {5: 1})).generator_on_load, True)
        self.assertIs(watch.situation(Known({2: True}, {5: 0})).generator_on_load, False)
        self.assertIsNone(watch.situation(Known({2: True})).generator_on_load)
