"""A day of a gateway, on a simulated clock: no drift, no leak, no stall, whatever happens to it.

The controller is pymodbus', the server is the real one; only clock, line and network are in memory.
"""

import gc
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from types import CoroutineType

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.gateway.source import InputStates
from cmmd.modbus.frames import Function
from cmmd.server.login import Advertised
from tests.gateway_world import HISTORIC, LIVE, GatewayWorld
from tests.uploads import AT_REST, STANDBY
from tests.world import HOSTID

HOUR_S = 3600
HOURS = 24
PERIOD_S = 3
CYCLES_AN_HOUR = HOUR_S // PERIOD_S
HISTORY_INTERVAL_S = 60
ANSWER_TIMEOUT_S = 20
FREQUENCY = 6
"""The register that tells when it was read: it counts cycles."""


def objects() -> Counter[str]:
    """What a leak would be made of: how many there are."""
    gc.collect()
    kinds = (Deferred, DelayedCall, CoroutineType)
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if isinstance(one, kinds) or str(kind.__module__).startswith("cmmd.gateway"):
            found[kind.__name__] += 1
    return found


class DayTests(SynchronousTestCase):
    def make(self) -> GatewayWorld:
        world = GatewayWorld(Path(self.mktemp()), advertised=Advertised(str(LIVE), str(HISTORIC)))
        world.genset.registers = dict(STANDBY)
        world.genset.coils = set(AT_REST)
        self.polled: list[float] = []
        answer = world.genset.answer

        def noting(frame: bytes) -> bytes | None:
            if frame[1] == Function.READ_COILS and frame[3] == 0:  # the first request of the plan
                self.polled.append(world.clock.seconds())
                world.genset.registers[FREQUENCY] = 4500 + len(self.polled) % 1000
            return answer(frame)

        self.patch(world.genset, "answer", noting)
        self.addCleanup(world.stop)
        return world

    def settled(self, world: GatewayWorld) -> Counter[str]:
        """What there is at a moment between two cycles."""
        self.assertEqual(world.link.counters.online, 1)
        while self.polled[-1] > world.clock.seconds() - 1 or self.polled[-1] < world.clock.seconds() - 2:
            world.run(0.1)
        return objects()

    def test_undisturbed(self) -> None:
        world = self.make()
        world.start(HOUR_S)
        before = self.settled(world)
        count, uploads = len(self.polled), world.link.counters.uploads
        world.run((HOURS - 1) * HOUR_S)
        self.assertEqual(len(self.polled) - count, (HOURS - 1) * CYCLES_AN_HOUR, "every cycle, and none more")
        self.assertEqual(world.link.counters.uploads - uploads, (HOURS - 1) * CYCLES_AN_HOUR)
        self.assertEqual(world.source.cycles, len(self.polled))
        for number, time in enumerate(self.polled):
            self.assertLess(abs(time - self.polled[0] - number * PERIOD_S), 0.01, "no drift")
        self.assertEqual(self.settled(world), before, "no leak")
        counters, bus = world.link.counters, world.bus.statistics
        self.assertEqual((counters.logins, counters.failures, counters.refused), (1, 0, 0))
        self.assertEqual((bus.timeouts, bus.crc_errors, bus.bytes_discarded, bus.late_answers), (0, 0, 0, 0))
        self.assertEqual(world.server.fleet.live[HOSTID].known.register(FREQUENCY), world.genset.register(FREQUENCY))
        readings = [one.reading for one in world.readings()]
        gaps = {round(later.at - earlier.at, -2) for earlier, later in pairwise(readings)}
        self.assertEqual(gaps, {63_000}, "the history of the day, evenly")
        self.assertEqual(len(readings), HOURS * HOUR_S // 63 + 1)

    def test_with_all_that_may_happen(self) -> None:
        world = self.make()
        world.start(HOUR_S)
        before = self.settled(world)
        random = Random("a day")
        troubles: list[Callable[[GatewayWorld, Random], None]] = [cut, dead, cable, reset, inputs, commands]
        for hour in range(1, HOURS):
            begun = len(self.polled)
            if hour % 4 == 0:
                world.run(HOUR_S)
                self.assertIn(len(self.polled) - begun, (CYCLES_AN_HOUR - 1, CYCLES_AN_HOUR, CYCLES_AN_HOUR + 1))
            else:
                end = world.clock.seconds() + HOUR_S
                world.run(random.uniform(60, 600))
                troubles[hour % len(troubles)](world, random)
                world.run(end - world.clock.seconds())
                self.assertGreater(len(self.polled) - begun, CYCLES_AN_HOUR // 2, "no stall")
                self.assertLess(len(self.polled) - begun, CYCLES_AN_HOUR * 1.02, "none stacked")
            self.assertEqual(world.link.counters.online, 1, "it is back")
            self.assertEqual(world.buffer.rows, 0, "what was kept is sent")
        self.assertEqual(self.settled(world), before, "no leak")
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertGreaterEqual(world.source.cycles, len(self.polled), "with the cable out, nobody hears them")
        self.assertEqual(dict(world.server.tally.peer_errors), {})
        self.assertEqual(world.server.tally.frames["bad_crc"], 0)  # type: ignore[index]
        self.assert_history(world)

    def assert_history(self, world: GatewayWorld) -> None:
        """Of every minute in which the controller answered there is a reading, outages or not, and it is true."""
        readings = [one.reading for one in world.readings()]
        times = [one.at / 1000 for one in readings]
        longest = HISTORY_INTERVAL_S + PERIOD_S + ANSWER_TIMEOUT_S + 2 * PERIOD_S
        gaps = [(earlier, later) for earlier, later in pairwise(times) if later - earlier > longest]
        self.assertEqual(len(gaps), self.cables_out(), "but while the cable was out")
        polled = {4500 + number % 1000: [] for number in range(1000)}  # type: ignore[var-annotated]
        for number, time in enumerate(self.polled, 1):
            polled[4500 + number % 1000].append(time)
        for one in world.readings():
            frequency = one.points["mains_frequency"]
            if frequency is not None:
                near = min(abs(time - one.reading.at / 1000) for time in polled[round(frequency * 100)])
                self.assertLess(near, 1.0, "at its time")

    def cables_out(self) -> int:
        return len([hour for hour in range(1, HOURS) if hour % 4 and hour % 6 == 2])


def cut(world: GatewayWorld, random: Random) -> None:
    """The network is gone for a while, and everybody notices."""
    world.network.cut()
    world.run(random.uniform(30, 1200))
    world.network.up = True


def dead(world: GatewayWorld, random: Random) -> None:
    """The network swallows everything, and nobody notices."""
    world.network.dead = True
    world.run(random.uniform(30, 1200))
    world.network.dead = False


def cable(world: GatewayWorld, random: Random) -> None:
    """The adapter is unplugged."""
    world.cable.pull()
    world.run(random.uniform(200, 600))
    world.cable.plugged = True


def reset(world: GatewayWorld, random: Random) -> None:
    """Somebody resets the gateway, again and again."""
    for _ in range(5):
        sent = world.reset()
        world.run(random.uniform(5, 60))
        assert sent.outcome == "done", sent.outcome


def inputs(world: GatewayWorld, random: Random) -> None:
    """The door opens and closes, in an outage, too."""
    world.network.cut()
    for state in (1, 0, 1, 0):
        world.inputs = InputStates(access_alarm=state)
        world.run(random.uniform(5, 60))
    world.network.up = True


def commands(world: GatewayWorld, random: Random) -> None:
    """Somebody commands all the time."""
    for name in ("manual", "auto") * 20:
        sent = world.send(name)
        world.run(random.uniform(10, 20))
        assert sent.outcome == "done", sent.outcome
