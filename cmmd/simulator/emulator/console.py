"""The console of an emulated controller while it runs: a table of words."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from cmmd.simulator.emulator.controller import EmulatedController
from cmmd.simulator.emulator.line import SPEEDS, Line, PortError, WorldClock
from cmmd.simulator.genset.faults import Fault
from cmmd.simulator.genset.genset import LONGEST_PAUSE_S, Genset
from cmmd.simulator.genset.mains import MainsCondition

__all__ = ["WORDS", "World", "obey"]

LONGEST_DELAY_MS = 600_000
LOUDEST_NOISE = 0.5

OK = "ok"


@dataclass(frozen=True, slots=True)
class World:
    """The world that words change and describe."""

    clock: WorldClock
    genset: Genset
    controller: EmulatedController
    line: Line


class Word(NamedTuple):
    """One word of the console.

    :ivar means: for people.
    :ivar act: does it; what it returns is the answer, and None is "ok".
    :ivar argument: what it is said with, for people; empty: nothing.
    :ivar read: makes a value of that.
    """

    means: str
    act: Callable[[World, Any], object]
    argument: str = ""
    read: Callable[[str], Any] = str


def obey(world: World, line: str) -> str:
    """Do what a line says.

    :return: one line of JSON: what was requested, ``"ok"``, or ``{"error": why}``.
    """
    name, *arguments = line.split() or [""]
    try:
        word = WORDS.get(name)
        if word is None:
            raise ValueError(f"no such word, there are {', '.join(WORDS)}")
        if len(arguments) != bool(word.argument):
            raise ValueError(f"it is said with {word.argument or 'nothing'}")
        answer = word.act(world, word.read(arguments[0]) if arguments else None)
    except (ValueError, PortError) as error:
        answer = {"error": f"{name}: {error}"}
    return json.dumps(OK if answer is None else answer)


def _number(least: float, most: float) -> Callable[[str], float]:
    """A reader of numbers within limits."""

    def read(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise ValueError(f"not from {least:g} to {most:g}")
        return value

    return read


def _one_of(names: type[StrEnum]) -> Callable[[str], StrEnum]:
    """A reader of names."""

    def read(text: str) -> StrEnum:
        if text not in list(names):
            raise ValueError(f"not one of {', '.join(names)}")
        return names(text)

    return read


def _speed(text: str) -> int:
    if text not in map(str, SPEEDS):
        raise ValueError(f"not one of {', '.join(map(str, SPEEDS))}")
    return int(text)


def _mute(world: World, mute: bool) -> None:
    world.line.mute = mute


def _delay(world: World, milliseconds: float) -> None:
    world.line.delay_s = milliseconds / 1000


def _noise(world: World, share: float) -> None:
    world.line.noise = share


def _baud(world: World, baud: int) -> None:
    world.line.baud = baud


def _mains(world: World, condition: MainsCondition) -> None:
    if condition is MainsCondition.NORMAL:
        world.genset.return_mains()
    else:
        world.genset.fail_mains(condition)


def _status(world: World, _: None) -> dict[str, object]:
    line, genset = world.line, world.genset
    return {
        "plugged": line.plugged,
        "baud": line.baud,
        "gateway_baud": line.gateway_baud,
        "mute": line.mute,
        "delay_ms": round(line.delay_s * 1000),
        "noise": line.noise,
        "frames": line.frames,
        "misheard": line.misheard,
        "answers": line.answers,
        "frozen": world.clock.stopped,
        "mode": genset.mode,
        "engine_state": int(genset.engine_state),
        "supply": genset.supply.name.lower(),
        "mains": genset.mains_condition,
        "faults": list(genset.faults),
    }


def _help(_: World, __: None) -> dict[str, str]:
    return {f"{name} {word.argument}".rstrip(): word.means for name, word in WORDS.items()}


WORDS: dict[str, Word] = {
    "unplug": Word("unplugs the adapter: device and link are gone", lambda world, _: world.line.unplug()),
    "plug": Word("brings it back", lambda world, _: world.line.plug()),
    "mute": Word("requests are heard and obeyed, but no answer comes", lambda world, _: _mute(world, True)),
    "unmute": Word("answers come again", lambda world, _: _mute(world, False)),
    "delay": Word("answers come so much later", _delay, "MILLISECONDS", _number(0, LONGEST_DELAY_MS)),
    "noise": Word("this share of all bytes is noise, 0 to 0.5", _noise, "SHARE", _number(0, LOUDEST_NOISE)),
    "baud": Word("sets the controller to another speed", _baud, "BIT/S", _speed),
    "mains": Word("how the mains are from now on", _mains, "CONDITION", _one_of(MainsCondition)),
    "fault": Word("a fault of the genset", lambda world, fault: world.genset.inject(fault), "NAME", _one_of(Fault)),
    "heal": Word("it is repaired", lambda world, fault: world.genset.heal(fault), "NAME", _one_of(Fault)),
    "freeze": Word("stops the genset's time: all values stay as they are", lambda world, _: world.clock.stop()),
    "thaw": Word("lets it go on", lambda world, _: world.clock.go()),
    "advance": Word(
        "lets so much of it pass at once",
        lambda world, seconds: world.clock.advance(seconds),
        "SECONDS",
        _number(0, LONGEST_PAUSE_S),
    ),
    "registers": Word("tells the holding registers from 0 on", lambda world, _: world.controller.registers),
    "coils": Word("tells the coils from 0 on", lambda world, _: world.controller.coils),
    "writes": Word("tells all commands that came: coil, whether obeyed", lambda world, _: world.controller.writes),
    "status": Word("tells how everything is", _status),
    "help": Word("tells the words", _help),
}
