"""``cmmd.simulator.genset.controller``: modes, commands and delays, seen on the panel."""

from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.simulator.genset.controller import (
    _COMMANDS,
    MAINS_ABNORMAL_S,
    MAINS_NORMAL_S,
    START_DELAY_S,
    STOP_DELAY_S,
    TRANSFER_S,
    Mode,
)
from cmmd.simulator.genset.engine import STEPS, EngineState
from tests.watched_genset import WatchedGenset

START = [1, 2, 3, 5, 6, 7, 8, 9]
STOP = [10, 11, 12, 13, 15, 0]
MAINS_ON_LOAD, GENERATOR_ON_LOAD = 6, 7
MODE_COILS = {"test": 40, "auto": 41, "manual": 42, "stop": 43}


def seconds_of(states: list[int]) -> float:
    return sum(STEPS[EngineState(state)].seconds for state in states)


STARTING_S = seconds_of(START[:-1])
STOPPING_S = seconds_of(STOP[:-1])


class ModeTests(SynchronousTestCase):
    """Each mode, and what makes the engine run in it."""

    def setUp(self) -> None:
        self.watched = WatchedGenset()
        self.genset = self.watched.genset

    def supply(self) -> set[int]:
        return self.watched.coils & {MAINS_ON_LOAD, GENERATOR_ON_LOAD}

    def start_by_hand(self) -> None:
        """The engine runs in manual mode, off load; the mains are normal."""
        self.genset.command("manual")
        self.genset.command("start")
        self.watched.wait(STARTING_S)
        self.assertEqual(self.watched.state, 9)

    def test_auto_mains_failure_and_return(self) -> None:
        self.assertEqual(self.watched.path(20), [0])
        self.genset.fail_mains()
        failure = self.watched.walk(80)
        self.assertEqual([state for state, _ in failure], [0, *START])
        self.assertEqual(failure[0][1], MAINS_ABNORMAL_S + START_DELAY_S)
        self.assertEqual(
            [(state, looks) for state, looks in failure[1:-1]],
            [(state, STEPS[EngineState(state)].seconds) for state in START[:-1]],
        )
        self.assertEqual(self.supply(), {GENERATOR_ON_LOAD})
        self.genset.return_mains()
        return_ = self.watched.walk(80)
        self.assertEqual([state for state, _ in return_], [9, *STOP])
        self.assertEqual(return_[0][1], MAINS_NORMAL_S + STOP_DELAY_S)
        self.assertEqual(
            [(state, looks) for state, looks in return_[1:-1]],
            [(state, STEPS[EngineState(state)].seconds) for state in STOP[:-1]],
        )
        self.assertEqual(self.supply(), {MAINS_ON_LOAD})

    def test_auto_the_load_is_never_fed_by_both(self) -> None:
        """And it goes back to the mains before the engine cools."""
        self.genset.fail_mains()
        pictures = self.watched.watch(80)
        self.genset.return_mains()
        pictures += self.watched.watch(80)
        supplies, states = [], []
        for picture in pictures:
            supplies.append((picture.coils >> MAINS_ON_LOAD & 1, picture.coils >> GENERATOR_ON_LOAD & 1))
            states.append(picture.registers[34])
        changes = [(1, 0)]
        for supply in supplies:
            if supply != changes[-1]:
                changes.append(supply)
        self.assertEqual(changes, [(1, 0), (0, 0), (0, 1), (0, 0), (1, 0)])
        self.assertTrue(all(state == 9 for state, supply in zip(states, supplies, strict=True) if supply[1]))
        self.assertTrue(
            all(supply == (1, 0) for state, supply in zip(states, supplies, strict=True) if state in (10, 11))
        )

    def test_the_delays_are_shown(self) -> None:
        self.genset.fail_mains()
        seen = [picture.registers[34:42] for picture in self.watched.watch(40)]
        self.assertEqual([one[7] for one in seen[:6]], [5, 4, 3, 2, 1, 0])
        self.assertEqual([one[6] for one in seen[:6]], [0, 0, 0, 0, 0, 1])
        self.assertEqual([one[2:4] for one in seen[4:8]], [(0, 0), (1, 2), (1, 1), (0, 0)])
        self.assertEqual([one[0:2] for one in seen[6:12]], [(0, 0), (1, 2), (1, 1), (2, 1), (3, 4), (3, 3)])
        closing = [one[4:6] for one in seen if one[4]]
        self.assertEqual(closing, [(1, 2), (1, 1)])
        self.genset.return_mains()
        seen = [picture.registers[34:42] for picture in self.watched.watch(20)]
        self.assertEqual([one[7] for one in seen[:11]], list(range(10, -1, -1)))
        self.assertEqual([one[2:4] for one in seen[9:16]], [(0, 0), *((2, left) for left in range(5, 0, -1)), (0, 0)])
        self.assertEqual([one[4:6] for one in seen if one[4]], [(2, 2), (2, 1)])

    def test_auto_a_short_dip_is_nothing(self) -> None:
        self.genset.fail_mains()
        self.watched.wait(MAINS_ABNORMAL_S - 0.1)
        self.genset.return_mains()
        self.assertEqual(self.watched.path(60), [0])
        self.assertEqual(self.watched.register(41), 0)

    def test_auto_mains_that_return_during_the_start(self) -> None:
        self.genset.fail_mains()
        self.watched.wait_for(3)
        self.genset.return_mains()
        self.assertEqual(self.watched.path(90), [3, 5, 6, 7, *STOP])
        self.assertEqual(self.supply(), {MAINS_ON_LOAD})

    def test_auto_mains_that_fail_again_while_it_cools(self) -> None:
        self.genset.fail_mains()
        self.watched.wait(100)
        self.genset.return_mains()
        self.watched.wait_for(10)
        self.genset.fail_mains()
        self.assertEqual(self.watched.path(30), [10, 9])
        self.assertEqual(self.supply(), {GENERATOR_ON_LOAD})

    def test_stop_mode_stops_with_cooling(self) -> None:
        self.genset.fail_mains()
        self.watched.wait(100)
        self.assertTrue(self.genset.command("stop"))
        self.assertEqual(self.supply(), set())
        self.assertEqual(self.watched.path(STOPPING_S), STOP)
        self.assertEqual(self.watched.path(300), [0])
        self.genset.return_mains()
        self.watched.wait(MAINS_NORMAL_S + TRANSFER_S)
        self.assertEqual(self.supply(), {MAINS_ON_LOAD})

    def test_manual_mode_runs_when_told(self) -> None:
        self.assertTrue(self.genset.command("manual"))
        self.genset.fail_mains()
        self.assertEqual(self.watched.path(60), [0])
        self.assertTrue(self.genset.command("start"))
        self.assertEqual(self.watched.path(STARTING_S), START)
        self.assertEqual(self.watched.path(600), [9])
        self.assertEqual(self.supply(), {MAINS_ON_LOAD})

    def test_test_mode_runs_and_takes_the_load_only_when_it_must(self) -> None:
        self.assertTrue(self.genset.command("test"))
        self.assertEqual(self.watched.path(300), START)
        self.assertEqual(self.supply(), {MAINS_ON_LOAD})
        self.genset.fail_mains()
        self.watched.wait(MAINS_ABNORMAL_S + TRANSFER_S)
        self.assertEqual(self.supply(), {GENERATOR_ON_LOAD})
        self.genset.return_mains()
        self.assertEqual(self.watched.path(300), [9])
        self.assertEqual(self.supply(), {MAINS_ON_LOAD})

    def test_modes_while_it_runs(self) -> None:
        for mode, path in (
            ("manual", [9]),
            ("test", [9]),
            ("auto", [9, *STOP]),
            ("stop", STOP),
        ):
            with self.subTest(mode=mode):
                self.setUp()
                self.start_by_hand()
                self.genset.command(mode)
                self.assertEqual(self.watched.path(100), path)

    def test_a_stop_during_each_state_of_the_start(self) -> None:
        ways = {1: [15, 0], 2: [15, 0], 3: [12, 13, 15, 0], 5: STOP[1:], 6: STOP[1:], 7: STOP, 8: STOP}
        for state, way in ways.items():
            with self.subTest(state=state):
                self.setUp()
                self.genset.command("test")
                self.watched.wait_for(state)
                self.genset.command("stop")
                self.assertEqual(self.watched.path(60, 0.5), way)

    def test_a_start_that_comes_while_it_stops(self) -> None:
        self.start_by_hand()
        self.genset.command("stop")
        self.watched.wait_for(13)
        self.genset.command("test")
        self.assertEqual(self.watched.path(60), [13, 15, *START])


class CommandTests(SynchronousTestCase):
    """What is obeyed when."""

    def setUp(self) -> None:
        self.watched = WatchedGenset()
        self.genset = self.watched.genset

    def test_all_commands_of_the_profiles(self) -> None:
        named = {name for profile in load_catalog() for name in profile.command_by_name}
        self.assertEqual(set(_COMMANDS), named)

    def test_by_coil(self) -> None:
        for coil, mode in ((2, "test"), (3, "auto"), (4, "manual"), (1, "stop")):
            self.assertTrue(self.genset.write_coil(coil))
            self.assertEqual(self.genset.mode, mode)
            self.assertEqual(self.watched.coils & set(MODE_COILS.values()), {MODE_COILS[mode]})
        for coil in (7, 8, 41, 65535):
            self.assertFalse(self.genset.write_coil(coil))

    def test_unknown(self) -> None:
        self.assertFalse(self.genset.command("dance"))

    def test_start_only_in_manual(self) -> None:
        for mode in Mode:
            with self.subTest(mode=mode):
                self.setUp()
                self.genset.command(mode)
                self.assertEqual(self.genset.command("start"), mode is Mode.MANUAL)

    def test_start_is_seen_at_once(self) -> None:
        self.genset.command("manual")
        self.genset.command("start")
        self.assertEqual(self.watched.state, 1)

    def test_modes_twice(self) -> None:
        for mode in Mode:
            self.assertTrue(self.genset.command(mode))
            self.assertTrue(self.genset.command(mode))
            self.assertIs(self.genset.mode, mode)

    def test_breakers_in_manual(self) -> None:
        self.genset.command("manual")
        self.assertFalse(self.genset.command("generator_breaker_toggle"))  # nothing to close on
        self.genset.command("start")
        self.watched.wait(STARTING_S)
        for command, supply in (
            ("generator_breaker_toggle", {GENERATOR_ON_LOAD}),
            ("generator_breaker_toggle", set()),
            ("mains_breaker_toggle", {MAINS_ON_LOAD}),
            ("mains_breaker_toggle", set()),
            ("generator_breaker_toggle", {GENERATOR_ON_LOAD}),
            ("mains_breaker_toggle", {MAINS_ON_LOAD}),
        ):
            before = self.watched.coils
            self.assertTrue(self.genset.command(command))
            self.watched.wait(TRANSFER_S)
            self.assertEqual(self.watched.coils & {MAINS_ON_LOAD, GENERATOR_ON_LOAD}, supply)
            confirmed = GENERATOR_ON_LOAD if command.startswith("generator") else MAINS_ON_LOAD
            self.assertIn(confirmed, before ^ self.watched.coils)

    def test_no_mains_breaker_on_dead_mains(self) -> None:
        self.genset.command("manual")
        self.assertTrue(self.genset.command("mains_breaker_toggle"))
        self.genset.fail_mains()
        self.watched.wait(60)
        self.assertFalse(self.genset.command("mains_breaker_toggle"))

    def test_no_breakers_outside_of_manual(self) -> None:
        for mode in ("auto", "test", "stop"):
            self.genset.command(mode)
            self.watched.wait(60)
            before = self.watched.coils
            self.assertFalse(self.genset.command("generator_breaker_toggle"))
            self.assertFalse(self.genset.command("mains_breaker_toggle"))
            self.assertEqual(self.watched.coils, before)

    def test_the_generator_breaker_opens_when_the_engine_stops(self) -> None:
        self.genset.command("manual")
        self.genset.command("start")
        self.watched.wait(STARTING_S)
        self.genset.command("generator_breaker_toggle")
        self.watched.wait(10)
        self.genset.inject("emergency_stop")
        self.assertEqual(self.watched.coils & {MAINS_ON_LOAD, GENERATOR_ON_LOAD}, set())
        self.watched.wait(100)
        self.assertTrue(self.genset.command("mains_breaker_toggle"))
        self.watched.wait(TRANSFER_S)
        self.assertEqual(self.watched.coils & {MAINS_ON_LOAD, GENERATOR_ON_LOAD}, {MAINS_ON_LOAD})

    def test_locked_at_the_panel(self) -> None:
        self.genset.inject("remote_lock")
        before = self.watched.coils
        self.assertIn(4, before)
        for command in _COMMANDS:
            self.assertFalse(self.genset.command(command))
        self.assertEqual(self.watched.coils, before)
        self.genset.heal("remote_lock")
        self.assertTrue(self.genset.command("manual"))
