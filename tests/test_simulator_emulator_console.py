"""What is said to an emulated controller, and what it answers."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.emulator.console import WORDS, World, obey
from cmmd.simulator.emulator.service import make_world
from tests.support import REPOSITORY

Say = Callable[[str], Any]


class WordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="cmmd-words-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.link = self.folder / "tty"

    def with_world(self, test: Callable[[World, Say], None]) -> None:
        async def run() -> None:
            world = make_world(self.link, baud=9600, seed=1, unit=1, model="HGM6120N", lively=False)
            try:
                test(world, lambda line: json.loads(obey(world, line)))
            finally:
                world.line.close()

        asyncio.run(run())

    def test_line(self) -> None:
        def test(world: World, say: Say) -> None:
            self.assertEqual(say("plug"), "ok")
            self.assertTrue(self.link.is_symlink())
            self.assertEqual(say("unplug"), "ok")
            self.assertFalse(self.link.is_symlink())
            self.assertEqual(say("mute"), "ok")
            self.assertTrue(world.line.mute)
            self.assertEqual(say("unmute"), "ok")
            self.assertFalse(world.line.mute)
            self.assertEqual(say("delay 250"), "ok")
            self.assertEqual(world.line.delay_s, 0.25)
            self.assertEqual(say("noise 0.01"), "ok")
            self.assertEqual(world.line.noise, 0.01)
            self.assertEqual(say("baud 19200"), "ok")
            self.assertEqual(world.line.baud, 19200)

        self.with_world(test)

    def test_genset(self) -> None:
        def test(world: World, say: Say) -> None:
            self.assertEqual(say("mains phase_loss"), "ok")
            self.assertEqual(world.genset.mains_condition, "phase_loss")
            self.assertEqual(say("mains normal"), "ok")
            self.assertEqual(world.genset.mains_condition, "normal")
            self.assertEqual(say("fault remote_lock"), "ok")
            self.assertEqual(world.genset.faults, ("remote_lock",))
            self.assertEqual(say("coils")[4], 1)
            self.assertEqual(say("heal remote_lock"), "ok")
            self.assertEqual(world.genset.faults, ())

        self.with_world(test)

    def test_time(self) -> None:
        def test(world: World, say: Say) -> None:
            self.assertEqual(say("freeze"), "ok")
            before = say("registers")
            self.assertEqual(say("registers"), before)
            self.assertEqual(say("mains blackout"), "ok")
            self.assertEqual(say("advance 120"), "ok")
            self.assertEqual(say("status")["engine_state"], 9)
            self.assertEqual(say("status")["supply"], "generator")
            self.assertEqual(say("coils")[7], 1)
            stood = world.clock.seconds()
            self.assertEqual(world.clock.seconds(), stood)
            self.assertEqual(say("thaw"), "ok")
            self.assertFalse(world.clock.stopped)

        self.with_world(test)

    def test_truth(self) -> None:
        def test(world: World, say: Say) -> None:
            say("freeze")
            self.assertEqual(say("registers"), world.controller.registers)
            self.assertEqual(say("coils"), world.controller.coils)
            self.assertEqual(say("writes"), [])
            world.controller.writes.append((3, True))
            self.assertEqual(say("writes"), [[3, True]])

        self.with_world(test)

    def test_status(self) -> None:
        def test(_: World, say: Say) -> None:
            for line in ("plug", "mute", "delay 1500", "baud 115200", "freeze", "fault sensor_open"):
                say(line)
            self.assertEqual(
                say("status"),
                {
                    "plugged": True,
                    "baud": 115200,
                    "gateway_baud": 38400,  # what a terminal has that nobody has set
                    "mute": True,
                    "delay_ms": 1500,
                    "noise": 0.0,
                    "frames": 0,
                    "misheard": 0,
                    "answers": 0,
                    "frozen": True,
                    "mode": "auto",
                    "engine_state": 0,
                    "supply": "mains",
                    "mains": "normal",
                    "faults": ["sensor_open"],
                },
            )

        self.with_world(test)

    def test_what_makes_no_sense(self) -> None:
        expected = {
            "": "no such word",
            "jump": "no such word, there are unplug, plug",
            "plug in": "it is said with nothing",
            "delay": "it is said with MILLISECONDS",
            "delay 1 2": "it is said with MILLISECONDS",
            "delay soon": "could not convert",
            "delay -1": "not from 0 to 600000",
            "delay nan": "not from 0 to 600000",
            "noise 0.6": "not from 0 to 0.5",
            "advance 86401": "not from 0 to 86400",
            "baud 9601": "not one of 1200, ",
            "fault bad_luck": "not one of low_fuel, ",
            "heal bad_luck": "not one of low_fuel, ",
            "mains gone": "not one of normal, blackout, ",
        }

        def test(world: World, say: Say) -> None:
            before = say("status")
            for line, why in expected.items():
                self.assertIn(why, say(line)["error"], line)
            self.assertEqual(say("status"), before)
            self.link.write_text("mine")
            self.assertIn("is there already", say("plug")["error"])

        self.with_world(test)

    def test_help_and_docs_have_them_all(self) -> None:
        text = (REPOSITORY / "docs" / "gateway-emulator.md").read_text(encoding="utf-8")

        def test(_: World, say: Say) -> None:
            told = say("help")
            self.assertEqual([line.split()[0] for line in told], list(WORDS))
            for line in told:
                self.assertIn(f"| `{line}` |", text)
            self.assertEqual(text.count("\n| `"), len(WORDS), "and no other")

        self.with_world(test)

    def test_seed(self) -> None:
        """The same one: the same genset."""
        told = []

        async def run(seed: int) -> None:
            world = make_world(self.link, baud=9600, seed=seed, unit=1, model="HGM6120N", lively=True)
            world.clock.stop()
            told.append(world.controller.registers[42:])  # counters, which do not wander

        for seed in (1, 1, 2):
            asyncio.run(run(seed))
        self.assertEqual(told[0], told[1])
        self.assertNotEqual(told[1], told[2])
