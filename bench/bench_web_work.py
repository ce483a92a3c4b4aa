"""CPU time of the reactor's thread for the worst requests of each operation of the HTTP API: 10 ms a turn at most.

``python bench/bench_web_work.py [DEVICES]`` (default 1000)

In process, on a clock that counts the thread's CPU time, by which long work is cut: what is measured is the work
between two turns of the reactor, in which no device is answered. Each operation is asked plainly, with a hundred
parameters, an address of 8 KiB, a hundred headers, and with bodies of 64 KiB: nested, of one long string, of many keys,
and of what is nearly JSON. The caller is an administrator, so that a request goes as far as it can.

Exits with 1 where a turn is over the bound.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet.defer import Deferred

from cmmd.web.api.operation import Operation
from cmmd.web.api.table import OPERATIONS, PREFIX
from tests.web_world import Client, WebWorld
from tests.world import HOSTID

BOUND_MS = 10.0
RUNS = 5
TURNS = 300
BODY = 64 * 1024 - 64
PLACES = {"{hostid}": HOSTID, "{number}": "1", "{name}": "hgm6120n", "{input}": "remote_inhibited"}

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
    for place, value in PLACES.items():
        path = path.replace(place, value)
    if operation.name == "list_events":
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
        for kind, body in BODIES.items():
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


def main() -> int:
    """Print a row for each operation.

    :return: the exit status.
    """
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    worst = 0.0
    with TemporaryDirectory() as folder:
        world = WebWorld(Path(folder), max_devices=devices + 10)
        world.online()
        for number in range(devices):
            enrolling = world.fleet.registry.enrol(f"D{number:023}", hostname=f"Yard {number}", moduletype="HGM6120N")
            Deferred.fromCoroutine(enrolling)
        world.world.write_batch()
        token = world.tokens.add("admin", "admin")
        began = world.clock.seconds() - time.thread_time()
        world.clock.seconds = lambda: began + time.thread_time()  # type: ignore[method-assign]
        print(f"{devices} devices; milliseconds of CPU in the longest turn, lowest of {RUNS} runs")
        for operation in OPERATIONS:
            found = {
                kind: min(longest_turn_ms(world, one) for _ in range(RUNS)) for kind, one in requests(operation, token)
            }
            kind = max(found, key=lambda one: found[one])
            worst = max(worst, found[kind])
            remark = " OVER" if found[kind] > BOUND_MS else ""
            print(f"{operation.name:<24}{found['plain']:>8.2f}{found[kind]:>8.2f}  {kind}{remark}", flush=True)
    print(f"worst: {worst:.1f} ms ({BOUND_MS:.0f} are allowed)")
    return int(worst > BOUND_MS)


if __name__ == "__main__":
    sys.exit(main())
