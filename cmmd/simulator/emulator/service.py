"""An emulated controller as a whole: built, plugged in, listening to words. On asyncio because pymodbus runs on it."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random

from cmmd.simulator.emulator.console import World, obey
from cmmd.simulator.emulator.controller import EmulatedController
from cmmd.simulator.emulator.line import Line, WorldClock
from cmmd.simulator.genset.genset import Genset
from cmmd.simulator.genset.panel import panel_of

__all__ = ["end_on_signals", "make_world", "serve"]

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def make_world(link: Path, *, baud: int, seed: int, unit: int, model: str, lively: bool) -> World:
    """Build everything; must be called where the loop runs. The adapter is not plugged yet.

    :param link: the path that a gateway opens.
    :param baud: bit/s that the controller is set to.
    :param seed: decides what the genset is like; the same one: the same genset, standing by.
    :param unit: its Modbus address.
    :param lively: mains and engine fail by themselves now and then.
    """
    loop = asyncio.get_running_loop()
    clock = WorldClock(loop.time)
    genset = Genset(
        Random(f"genset {seed}"),  # noqa: S311
        clock.seconds,
        running=False,
        mains_schedule=lively,
        fault_schedule=lively,
        model=model,
    )
    line = Line(link, loop, baud=baud, random=Random(f"noise {seed}"))  # noqa: S311
    controller = EmulatedController(genset, panel_of(model), unit=unit, answer=line.answer)
    line.heard = controller.hear
    return World(clock, genset, controller, line)


async def serve(world: World, *, words: int, answers: int, ended: asyncio.Event) -> None:
    """Plug the adapter in, and do what is said, line by line, until the end.

    :param words: the descriptor that they are read from; where it ends, so does this. Of one that cannot be waited for,
        such as ``/dev/null``, nothing is read.
    :param answers: the descriptor that gets a line for each.
    :param ended: ends it.
    :raises cmmd.simulator.emulator.line.PortError: the link cannot be made.
    """
    loop = asyncio.get_running_loop()
    said = bytearray()

    def readable() -> None:
        piece = os.read(words, 4096)
        if not piece:
            loop.remove_reader(words)
            ended.set()
        said.extend(piece)
        while b"\n" in said:
            line, _, rest = said.partition(b"\n")
            said[:] = rest
            if line.strip():
                os.write(answers, obey(world, line.decode("utf-8", "replace")).encode() + b"\n")

    world.line.plug()
    with suppress(PermissionError):  # epoll takes neither files nor /dev/null
        loop.add_reader(words, readable)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(words)
        world.line.close()


def end_on_signals(ended: asyncio.Event) -> None:
    """Have SIGTERM, SIGINT and SIGHUP end it in good order. Those that come while it ends do nothing more."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for number in _ENDING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        ended.set()

    for number in _ENDING:
        loop.add_signal_handler(number, end)
