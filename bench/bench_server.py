"""CPU time of the daemon per message, sockets included: a real ``twistd -n cmmd``, asked by this process over loopback.

``python bench/bench_server.py``

Saturated: 50 sessions, each sends its next message when the last was answered; the daemon is always busy. Paced: 1,000
sessions with a full upload every 3 seconds each, as devices do; the daemon sleeps in between and wakes for each.
"""

import json
import os
import selectors
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.bench_reading import documents
from tests.daemon import Daemon

SATURATED_SESSIONS, SATURATED_MESSAGES = 50, 40_000
PACED_SESSIONS, PACED_SECONDS, PERIOD_S = 1000, 10, 3.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def hostid(number: int) -> str:
    return f"{number:024X}"


def ask(port: int, message: dict[str, object], connection: socket.socket | None = None) -> socket.socket:
    """Send a message and read its answer, on a new connection where none is given."""
    connection = connection or socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(json.dumps(message).encode())
    assert json.loads(connection.recv(65536))["retcode"] == "000000"
    return connection


def sessions(port: int, count: int) -> list[socket.socket]:
    """So many devices, registered and attached."""
    attached = []
    for number in range(count):
        params = {"hostid": hostid(number), "hostname": "", "password": "", "moduletype": ""}
        ask(port, {"method": "login", "params": params}).close()
        attached.append(ask(port, {"method": "LongCon", "hostid": hostid(number)}))
    return attached


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def saturated(pid: int, connections: list[socket.socket], documents: list[bytes]) -> float:
    """Seconds of the daemon's CPU per message."""
    answers = 0
    with selectors.DefaultSelector() as selector:
        for connection, document in zip(connections, documents, strict=True):
            selector.register(connection, selectors.EVENT_READ, document)
        before = cpu_seconds(pid)
        for connection, document in zip(connections, documents, strict=True):
            connection.sendall(document)
        while answers < SATURATED_MESSAGES:
            for key, _ in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                assert connection.recv(65536)
                answers += 1
                connection.sendall(key.data)
        used = cpu_seconds(pid) - before
    for connection in connections:
        assert connection.recv(65536)
    return used / answers


def paced(pid: int, connections: list[socket.socket], documents: list[bytes]) -> float:
    """Seconds of the daemon's CPU per message."""
    before = cpu_seconds(pid)
    start = time.monotonic()
    sent = 0
    while time.monotonic() - start < PACED_SECONDS:
        number = sent % len(connections)
        wait = start + sent * PERIOD_S / len(connections) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        if sent >= len(connections):
            assert connections[number].recv(65536)
        connections[number].sendall(documents[number])
        sent += 1
    return (cpu_seconds(pid) - before) / sent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), {"store": {"url": "memory:"}}).start()
        try:
            connections = sessions(daemon.port, PACED_SESSIONS)
            own_hostid = documents()["login"][0].split(b'"hostid":"')[1][:24]
            print("twistd -n cmmd, µs of CPU a message, sockets included")
            for name, (strict, tolerant) in documents().items():
                if name == "login":
                    continue
                for way, document in (("strict", strict), ("tolerant", tolerant)):
                    each = [
                        document.replace(own_hostid, hostid(number).encode()) for number in range(SATURATED_SESSIONS)
                    ]
                    used = saturated(daemon.pid, connections[:SATURATED_SESSIONS], each)
                    print(f"{name}, {way}, saturated".ljust(60), f"{used * 1e6:7.1f}")
            upload = documents()["full upload, 90 coils, 55 registers"][0]
            each = [upload.replace(own_hostid, hostid(number).encode()) for number in range(PACED_SESSIONS)]
            used = paced(daemon.pid, connections, each)
            print(f"full upload, strict, {PACED_SESSIONS} devices every {PERIOD_S:g} s".ljust(60), f"{used * 1e6:7.1f}")
            for connection in connections:
                connection.close()
        finally:
            daemon.terminate()


if __name__ == "__main__":
    main()
