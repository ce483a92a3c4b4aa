"""``cmmd.simulator.genset.engine``: the table of states leads somewhere from everywhere."""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.simulator.genset.engine import FUELLED, STEPS, TURNING, Engine, EngineState


class TableTests(SynchronousTestCase):
    def test_every_state_of_the_controller(self) -> None:
        self.assertEqual(list(STEPS), list(EngineState))
        self.assertEqual([state.value for state in EngineState], list(range(16)))

    def test_the_engine_turns_where_the_profile_says_so(self) -> None:
        profile = load_catalog().profile("hgm6120n")
        assert profile is not None and profile.definition.engine is not None
        self.assertEqual({state.value for state in TURNING}, profile.definition.engine.turns)
        self.assertEqual({state.value for state in TURNING}, set(range(5, 12)))
        self.assertEqual({state.value for state in FUELLED}, {2, 3, *range(5, 12)})

    def test_what_ends_by_itself_goes_on_and_nothing_else_does(self) -> None:
        for state, step in STEPS.items():
            with self.subTest(state=state.name):
                self.assertEqual(step.seconds < inf, step.then is not None)
                self.assertGreater(step.seconds, 0)

    def test_every_stop_and_every_shutdown_ends_in_standby(self) -> None:
        for state, step in STEPS.items():
            for first in (step.on_stop, step.on_trip):
                if first is not None:
                    with self.subTest(state=state.name, first=first.name):
                        self.assertIs(self.end_of(first), EngineState.STANDBY)

    def end_of(self, state: EngineState) -> EngineState:
        """Where the states lead that follow each other by themselves."""
        for _ in STEPS:
            after = STEPS[state].then
            if after is None:
                return state
            state = after
        raise AssertionError("they go round in circles")

    def test_an_engine_that_is_being_started_or_runs_can_be_stopped(self) -> None:
        for state, step in STEPS.items():
            with self.subTest(state=state.name):
                self.assertEqual(step.on_stop is not None, 1 <= state <= 9)
                self.assertEqual(step.on_trip is not None, 1 <= state <= 11)


class EngineTests(SynchronousTestCase):
    def test_an_order_counts_only_where_it_can(self) -> None:
        engine = Engine(EngineState.STANDBY, starts=0)
        engine.follow(False, 0.0)
        self.assertEqual((engine.state, engine.until), (EngineState.STANDBY, inf))
        engine.follow(True, 5.0)
        self.assertEqual((engine.state, engine.until), (EngineState.PREHEAT, 7.0))
        engine.follow(True, 6.0)
        self.assertEqual((engine.state, engine.until), (EngineState.PREHEAT, 7.0))

    def test_a_start_counts_when_the_engine_fires(self) -> None:
        engine = Engine(EngineState.STANDBY, starts=7)
        engine.follow(True, 0.0)
        for succeeds in (True, True, False, True, True):
            self.assertEqual(engine.starts, 7)
            engine.elapse(engine.until, succeeds=succeeds)
        self.assertEqual((engine.state, engine.failed_cranks), (EngineState.CRANK, 1))
        engine.elapse(engine.until, succeeds=True)
        self.assertEqual((engine.state, engine.starts, engine.failed_cranks), (EngineState.SAFETY_RUN, 8, 0))
