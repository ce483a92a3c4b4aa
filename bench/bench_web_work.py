"""CPU time of the reactor's thread for the worst requests of each operation of the HTTP API: 10 ms a turn at most.

``python bench/bench_web_work.py [DEVICES]`` (default 1000)

In process, on a clock that counts the thread's CPU time, by which long work is cut: what is measured is the work
between two turns of the reactor, in which no device is answered. Each operation is asked plainly, with a hundred
parameters, an address of 8 KiB, a hundred headers, and with bodies: one that is obeyed, and bodies of 64 KiB, nested,
of one long string, of many keys, and of what is nearly JSON. The caller is an administrator, so that a request goes as
far as it can. A thousand devices wait for approval, there are a thousand security events, and the device that is asked
about has uploaded everything.

Exits with 1 where a turn is over the bound.
"""

import json
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet.defer import Deferred

from cmmd.fleet.devices.enrolment import MOST_WAITING
from cmmd.web.api.operation import Operation
from cmmd.web.api.table import OPERATIONS, PREFIX
from tests.uploads import HGM6120N_PLAN, full_upload
from tests.web_world import Client, WebWorld
from tests.world import HOSTID, login_params

BOUND_MS = 10.0
RUNS = 5
TURNS = 300
BODY = 64 * 1024 - 64
PLACES = {"{hostid}": HOSTID, "{number}": "1", "{name}": "hgm6120n", "{input}": "remote_inhibited"}

WAITING = "WAITING0"
"""A device that waits for approval, the first of as many as there can be."""

OF_THE_QUEUE = ("approve_device", "reject_device")
ENDS_ITSELF = ("approve_device", "enrol_device", "disable_device", "post_command", "reset_password")
"""Operations that are refused when they are asked for again, besides those of DELETE: each gets a daemon of its own."""

LONG_LISTS = ("list_events", "list_security_events", "list_alarms", "list_commands", "list_devices")

OBEYED: dict[str, object] = {
    "sign_in": {"token": "cmmd_" + "x" * 43},
    "enrol_device": {"hostid": "FRESH", "hostname": "x" * 20, "moduletype": "HGM6120N" + " x" * 11},
    "set_enrolment": {"policy": "approve"},
    "reset_password": {"password": None},  # with one, a thread of its own hashes it
    "change_settings": {"read_as": ", ".join(["byte_order=big"] * 12), "history_interval": 30.0, "profile": "hgm6120n"},
    "lock_device": {"reason": "x" * 200},
    "post_command": {"kind": "modbus", "result": ";".join(["00050003FF007DEB"] * 16)},
}
"""Bodies that are obeyed, or refused as late as can be, by operation."""

BODIES: dict[str, bytes] = {
    "nested": b"[" * BODY,
    "string": b'{"hostid": "' + b"x" * (BODY - 14) + b'"}',
    "keys": json.dumps({f"k{number}": number for number in range(3000)}).encode()[:BODY],
    "nearly JSON": b'{"hostid": "a", "x": [' + b"1e9," * (BODY // 4 - 8) + b"]",
    "escapes": b'{"hostid": "' + b"\\u0041" * (BODY // 6 - 4) + b'"}',
}


def requests(operation: Operation, token: str) -> Iterator[tuple[str, bytes]]:
    """Make the requests of an operation, by what is heavy in each."""
    path = PREFIX + operation.path
    places = {**PLACES, **({"{hostid}": WAITING} if operation.name in OF_THE_QUEUE else {})}
    for place, value in places.items():
        path = path.replace(place, value)
    if operation.name in LONG_LISTS:
        path += "?limit=1000"
    queries = {
        "plain": "",
        "parameters": "&".join(f"p{number}=%41" for number in range(100)),
        "address": "x=" + "%41" * 2600,
    }
    for kind, query in queries.items():
        yield kind, _request(operation.method, _with(path, query), token)
    lines = "".join(f"X-{number}: {'v' * 120}\r\n" for number in range(90))
    yield "headers", _request(operation.method, path, token, lines)
    if operation.body is not None:
        for kind, body in {"obeyed": json.dumps(OBEYED[operation.name]).encode(), **BODIES}.items():
            lines = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            yield kind, _request(operation.method, path, token, lines) + body


def _with(path: str, query: str) -> str:
    return path if not query else f"{path}{'&' if '?' in path else '?'}{query}"


def _request(method: str, path: str, token: str, lines: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: gensets.example\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"
    return head.encode()


def longest_turn_ms(world: WebWorld, request: bytes) -> float:
    """Send a request, and measure the longest work between two turns of the reactor."""
    client = Client(world)
    longest = 0.0
    for start in range(0, len(request), 8192):  # as much as one turn receives
        began = time.thread_time()
        client.send(request[start : start + 8192])
        longest = max(longest, time.thread_time() - began)
    for _ in range(TURNS):
        if client.transport.lost or not world.clock.getDelayedCalls():
            break
        began = time.thread_time()
        turn(world)
        longest = max(longest, time.thread_time() - began)
    client.transport.loseConnection()
    return longest * 1000


def turn(world: WebWorld) -> None:
    """Make the calls that are due now, as a reactor does: those that they ask for have to wait for the next turn."""
    now = world.clock.seconds()
    calls: list[Any] = [one for one in world.clock.getDelayedCalls() if one.getTime() <= now]
    for call in calls:
        if call.active():
            world.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


def made(state: Path, devices: int) -> WebWorld:
    """Make a daemon in which every list is long, on a clock that counts the thread's CPU time."""
    world = WebWorld(state, max_devices=devices + 10)
    world.online()
    world.fleet.uploads.full(full_upload(), HGM6120N_PLAN, historic=False)
    for number in range(devices):
        enrolling = world.fleet.registry.enrol(f"D{number:023}", hostname=f"Yard {number}", moduletype="HGM6120N")
        Deferred.fromCoroutine(enrolling)
    for number in range(MOST_WAITING):
        address = f"198.51.{number // 250}.{number % 250 + 1}"
        world.fleet.registry.enrolment.candidates.add(login_params(f"WAITING{number}"), address, "", b"", number)
        world.operations.security.record("wrong_token", address=address, detail="x" * 100)
    world.world.write_batch()
    began = world.clock.seconds() - time.thread_time()
    world.clock.seconds = lambda: began + time.thread_time()  # type: ignore[method-assign]
    return world


def main() -> int:
    """Print a row for each operation.

    :return: the exit status.
    """
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    worst = 0.0
    with TemporaryDirectory() as folder:
        state = Path(folder)
        token = made(state, 0).tokens.add("admin", "admin")
        print(f"{devices} devices; milliseconds of CPU in the longest turn, lowest of {RUNS} runs")
        for operation in OPERATIONS:
            world = made(state, devices)
            found: dict[str, float] = {}
            for kind, request in requests(operation, token):
                for _ in range(RUNS):
                    if operation.method == "DELETE" or operation.name in ENDS_ITSELF:
                        world = made(state, devices)
                    found[kind] = min(found.get(kind, inf), longest_turn_ms(world, request))
            kind = max(found, key=lambda one: found[one])
            worst = max(worst, found[kind])
            remark = " OVER" if found[kind] > BOUND_MS else ""
            print(f"{operation.name:<24}{found['plain']:>8.2f}{found[kind]:>8.2f}  {kind}{remark}", flush=True)
    print(f"worst: {worst:.1f} ms ({BOUND_MS:.0f} are allowed)")
    return int(worst > BOUND_MS)


if __name__ == "__main__":
    sys.exit(main())
