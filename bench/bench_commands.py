"""Commands through AMP: 1,000 devices, ten commands each, all at once; devices answer instantly, the gap is 0.

``python bench/bench_commands.py [DEVICES]``

Every answer is checked against the command that it belongs to, and what was asked against what the devices saw: none
lost, none doubled. The round trip is from when a command was handed to the device's connection to when its answer was
there, as the audit has it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from cmmd.control.client import ControlClient
from cmmd.modbus.frames import WriteRegisterRequest
from tests.daemon import REPOSITORY, Daemon, environment

COMMANDS = 10
PROGRAMS = 4
"""Connections of programs."""


def frame(device: int, number: int) -> str:
    return WriteRegisterRequest(1, device, number).to_hex()


def share(sorted_values: list[float], part: float) -> float:
    return sorted_values[int(part * (len(sorted_values) - 1))]


async def ask(reactor: Any, daemon: Daemon, devices: int) -> None:
    clients = [ControlClient(daemon.state, reactor, requester="bench") for _ in range(PROGRAMS)]
    for client in clients:
        await client.__aenter__()

    async def one(device: int, number: int) -> float:
        asked = time.monotonic()
        ended = await clients[device % PROGRAMS].write_config(f"ANSWERS{device}", frame(device, number))
        assert ended.outcome == "done", ended
        assert ended.reply == f"{frame(device, number)},1", "the answer of another command"
        return time.monotonic() - asked

    def asking() -> Iterator[Deferred[float]]:
        for number in range(COMMANDS):
            for device in range(devices):
                yield Deferred.fromCoroutine(one(device, number))

    started = time.monotonic()
    waited = sorted(await gatherResults(asking(), consumeErrors=True))
    seconds = time.monotonic() - started
    trips = sorted(
        [
            float(command.ended_at - command.sent_at)
            async for command in clients[0].commands()
            if command.ended_at is not None and command.sent_at is not None
        ]
    )
    assert len(trips) == devices * COMMANDS, f"{len(trips)} in the audit"
    print(f"{devices} devices, {COMMANDS} commands each, all at once: {len(waited)} done in {seconds:.1f} s")
    for name, values, unit in (("round trip, ms", trips, 1), ("asked until told, ms", waited, 1000)):
        p50, p99, most = (share(values, part) * unit for part in (0.5, 0.99, 1))
        print(f"{name:<24} p50 {p50:8.1f}   p99 {p99:8.1f}   max {most:8.1f}")
    for client in clients:
        await client.stop()


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    folder = Path(tempfile.mkdtemp(prefix="cmmd"))
    settings: dict[str, dict[str, object]] = {
        "control": {"listen": ["unix:control.sock:mode=600"]},
        "commands": {"gap": 0.0, "queue": COMMANDS},
    }
    daemon = Daemon(folder, settings).start()
    fleet = subprocess.Popen(
        [sys.executable, "-m", "tests.answering_fleet", str(daemon.port), str(devices)],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    try:
        assert fleet.stdout.readline() == "ready\n"
        task.react(lambda reactor: Deferred.fromCoroutine(checked(reactor, daemon, devices, fleet)))
    finally:
        fleet.kill()
        daemon.kill()
        shutil.rmtree(folder)


async def checked(reactor: Any, daemon: Daemon, devices: int, fleet: "subprocess.Popen[str]") -> None:
    await ask(reactor, daemon, devices)
    assert fleet.stdin is not None
    assert fleet.stdout is not None
    fleet.stdin.write("\n")
    fleet.stdin.flush()
    seen = json.loads(fleet.stdout.readline())
    for device in range(devices):
        wanted = [frame(device, number) for number in range(COMMANDS)]
        assert seen[f"ANSWERS{device}"] == wanted, f"device {device} saw {seen[f'ANSWERS{device}']}"
    print("every device saw its commands once each, in order")


if __name__ == "__main__":
    main()
