"""Abuse of a server on purpose: each function does one kind of it for seconds and holds the server to its answers.

They want a daemon with :data:`CONFIGURATION` and block until they are through; each raises AssertionError where the
server does anything but answer and close as documented (protocol sections 2, 5 and 6). Traffic stays on this machine.
"""

import json
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count, takewhile

from tests.daemon import Sections
from tests.plain_device import PlainDevice, login, message, register

__all__ = ["ABUSES", "CONFIGURATION", "TIMEOUT_S", "half_open_connections"]

TIMEOUT_S = 8.0
CONFIGURATION: Sections = {
    "server": {
        "login_timeout": TIMEOUT_S,
        "idle_timeout": TIMEOUT_S,
        "max_connections": 15_000,
        "fresh_connections": 15_000,  # all of them come from one address
    },
}
"""What the daemon is to be started with."""

RUSH_S = 2.0
"""How long what has no end of its own is kept up."""
PATIENCE_S = 60.0
"""How much later than documented an end may come: a busy machine is not a bug."""
CROWD = 4
"""How many do the same at once where one would do."""
SPARE_FILES = 300
HALF_OPEN = 10_000
LEAST_HALF_OPEN = 5_000

KIBIBYTE = 1024
CHUNK = 64 * KIBIBYTE
GIBIBYTE = 1024**3

HOSTID = "ABUSED"
HB_OK = b'{"method":"HB","message":"OK","retcode":"000000"}'
OVERSIZE = b'{"method":"error","message":"longer than 65536 bytes","retcode":"000001"}'
TOO_DEEP = b'{"method":"error","message":"nested deeper than 16","retcode":"000001"}'
GARBAGE = b'{"method":"error","message":"not a JSON object","retcode":"000001"}'
NO_METHOD = b'{"method":"error","message":"method: a text is required","retcode":"000001"}'

_names = count()


@dataclass(frozen=True)
class Poured:
    """What became of a connection that was written to as fast as it took it.

    :ivar closed: the server ended it.
    """

    sent: int
    received: bytes
    closed: bool


def pour(device: PlainDevice, unit: bytes, total: int, seconds: float, *, first: bytes = b"") -> Poured:
    """Write a unit on and on, and read what comes, until the server ends it, or so many bytes or seconds have gone."""
    connection = device.socket
    connection.setblocking(False)
    give_up = time.monotonic() + seconds
    sent, received, readable = 0, bytearray(), True
    unsent = memoryview(first + unit)
    try:
        while sent < total and time.monotonic() < give_up:
            can_read, can_write, _ = select.select([connection] if readable else [], [connection], [], 0.1)
            if can_read:
                piece = connection.recv(CHUNK)
                received += piece
                readable = bool(piece)  # after the server's end of its stream, go on until it refuses ours
            if can_write:
                written = connection.send(unsent)
                sent += written
                unsent = unsent[written:] or memoryview(unit)
    except (ConnectionResetError, BrokenPipeError):
        return Poured(sent, bytes(received), closed=True)
    return Poured(sent, bytes(received), closed=not readable)


def until_end(connection: socket.socket, seconds: float) -> bytes:
    """What comes until the server ends the connection, in order or not; it has so many seconds for the next byte."""
    connection.settimeout(seconds)
    received = bytearray()
    with suppress(ConnectionResetError):
        while piece := connection.recv(CHUNK):
            received += piece
    return bytes(received)


def crowd(work: Callable[[int], object], size: int = CROWD) -> None:
    """Do something several times at once, and raise what any of them raised."""
    with ThreadPoolExecutor(size) as threads:
        for done in [threads.submit(work, number) for number in range(size)]:
            done.result()


def rush(seconds: float = RUSH_S) -> Iterator[int]:
    """Count turns until the time is over."""
    give_up = time.monotonic() + seconds
    return takewhile(lambda _: time.monotonic() < give_up, count())


def attach(port: int, hostid: str) -> PlainDevice:
    """The long connection of a device that is registered for it."""
    answer = register(port, hostid)
    assert answer["retcode"] == "000000", answer
    device = PlainDevice(port)
    answer = device.ask(message("LongCon", hostid))
    assert answer["retcode"] == "000000", answer
    return device


def assert_made_of(received: bytes, *answers: bytes) -> None:
    """Nothing came but these answers; the last one may be cut."""
    for answer in answers:
        received = received.replace(answer, b"")
    assert any(answer.startswith(received) for answer in answers), received[:1000]


# --- without end ------------------------------------------------------------------------------------------------------


def endless_string(port: int) -> None:
    """1 GiB without a closing brace, at full speed: three errors, then the end."""
    with PlainDevice(port) as device:
        poured = pour(device, b"x" * CHUNK, GIBIBYTE, PATIENCE_S, first=b'{"a":"')
        assert poured.closed, poured.sent
        assert poured.received == OVERSIZE * 3, poured.received


def endless_strings(port: int) -> None:
    """The same from several at once that come back as soon as they have been closed."""

    def come_back(_: int) -> None:
        for _ in rush():
            with PlainDevice(port) as device:
                poured = pour(device, b"x" * CHUNK, 4 * CHUNK, PATIENCE_S, first=b'{"a":"')
                late = until_end(device.socket, PATIENCE_S)
                assert_made_of(poured.received + late, OVERSIZE)

    crowd(come_back)


def endless_garbage(port: int) -> None:
    """1 GiB without any brace: three errors, then the end."""
    with PlainDevice(port) as device:
        poured = pour(device, b"AT+CGATT=1\r\n\0\0" * 4096, GIBIBYTE, PATIENCE_S)
        assert poured.closed, poured.sent
        assert poured.received == GARBAGE * 3, poured.received


def endless_blanks(port: int) -> None:
    """White space at full speed, which is nobody's message: closed by the login timeout."""

    def blanks(_: int) -> None:
        with PlainDevice(port) as device:
            poured = pour(device, b" \r\n\0" * (CHUNK // 4), 100 * GIBIBYTE, TIMEOUT_S + PATIENCE_S)
            assert poured.closed, poured.sent
            assert poured.received == b"", poured.received

    crowd(blanks)


def endless_nesting(port: int) -> None:
    """Brackets that are never closed, from several that come back."""

    def come_back(number: int) -> None:
        unit = (b"[", b'{"a":', b'[{"a":', b"[[")[number % 4]
        for _ in rush():
            with PlainDevice(port) as device:
                poured = pour(device, unit * (CHUNK // len(unit)), 4 * CHUNK, PATIENCE_S, first=b'{"a":')
                late = until_end(device.socket, PATIENCE_S)
                assert_made_of(poured.received + late, TOO_DEEP, OVERSIZE)

    crowd(come_back)


def endless_brackets(port: int) -> None:
    """Brackets that are closed, in a document that is not, from several that come back."""

    def come_back(_: int) -> None:
        for _ in rush():
            with PlainDevice(port) as device:
                poured = pour(device, b"[]" * (CHUNK // 2), 4 * CHUNK, PATIENCE_S, first=b'{"a":[')
                late = until_end(device.socket, PATIENCE_S)
                assert_made_of(poured.received + late, OVERSIZE)

    crowd(come_back)


# --- much of it -------------------------------------------------------------------------------------------------------


def laborious_documents(port: int) -> None:
    """Documents as long as may be that are only nearly JSON and made of tiny pieces."""
    units = (b"1,", b"[],", b'{"":1 },', b'"",')
    crowd(lambda number: _heartbeats_with(port, number, units[number % len(units)], b"],"))


def laborious_json(port: int) -> None:
    """The same in JSON, so that nothing is wrong with it."""
    units = (b"[],", b"{},", b"[[[[[[[[[[]]]]]]]]]],", b'{"":1},')
    crowd(lambda number: _heartbeats_with(port, number, units[number % len(units)], b"0]"))


def _heartbeats_with(port: int, number: int, unit: bytes, end: bytes) -> None:
    """Heartbeats at full speed with 64 KiB of these units in them; from the start where the server closes."""
    hostid = f"{HOSTID}{number}"
    begin = b'{"method":"HB","hostid":"%s","params":[' % hostid.encode()
    document = begin + unit * ((CHUNK - len(begin) - len(end) - 1) // len(unit)) + end + b"}"
    for _ in rush():
        with attach(port, hostid) as device:
            poured = pour(device, document, 100 * GIBIBYTE, RUSH_S)
            for answer in _documents(poured.received):
                assert answer["retcode"] in ("000000", "000001"), answer


def _documents(received: bytes) -> Iterator[dict[str, str]]:
    """All documents but a last one that is cut."""
    decoder, text, place = json.JSONDecoder(), received.decode(), 0
    with suppress(json.JSONDecodeError):
        while place < len(text):
            document, place = decoder.raw_decode(text, place)
            yield document


def empty_objects(port: int) -> None:
    """10 MB of ``{}``, each of them answered; closed by the login timeout, for there is no message in it."""

    def objects(_: int) -> None:
        with PlainDevice(port) as device:
            poured = pour(device, b"{}" * (CHUNK // 2), 10_000_000, TIMEOUT_S + PATIENCE_S)
            late = until_end(device.socket, TIMEOUT_S + PATIENCE_S)
            assert_made_of(poured.received + late, NO_METHOD)
            assert len(poured.received) > 100 * len(NO_METHOD), poured

    crowd(objects)


def heartbeats_at_full_speed(port: int) -> None:
    """Heartbeats one after the other without a pause, all answered."""

    def heartbeats(number: int) -> None:
        hostid = f"{HOSTID}{number}"
        with attach(port, hostid) as device:
            poured = pour(device, message("HB", hostid, params="") * 100, 100 * GIBIBYTE, RUSH_S)
            assert not poured.closed
            assert_made_of(poured.received, HB_OK)
            assert len(poured.received) > 100 * len(HB_OK), poured

    crowd(heartbeats)


def unread_answers(port: int) -> None:
    """Floods from devices that never read an answer: paused, then dropped by the idle timeout."""

    def flood(number: int) -> None:
        hostid = f"{HOSTID}{number}"
        unit = (message("HB", hostid, params=""), b"{}")[number % 2]
        with attach(port, hostid) as device:
            device.socket.settimeout(TIMEOUT_S + PATIENCE_S)
            # With more room the kernel takes an answer every few seconds, and the server another message then.
            device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIBIBYTE)
            started = time.monotonic()
            with suppress(ConnectionResetError, BrokenPipeError):
                for _ in range(10_000_000 // CHUNK):
                    device.socket.sendall(unit * (CHUNK // len(unit)))
                raise AssertionError("10 MB were taken of a peer that does not read")
            assert time.monotonic() - started > TIMEOUT_S / 2

    crowd(flood, 20)


# --- connections ------------------------------------------------------------------------------------------------------


def half_open_connections(port: int, timeout_s: float = TIMEOUT_S) -> int:
    """10,000 connections, or as many as the limit of files allows, on which nothing is sent.

    :param timeout_s: the login timeout, which closes them.
    :return: how many stood at once.
    """
    with ExitStack() as stack, select.epoll() as ended:
        connections = [stack.enter_context(one) for one in _connections(port, HALF_OPEN)]
        for connection in connections:
            ended.register(connection, select.EPOLLIN)
        opened = time.monotonic()
        standing = len(connections) - len(ended.poll(0, HALF_OPEN))
        for connection in connections:
            received = until_end(connection, timeout_s + PATIENCE_S)
            assert received == b"", received
            connection.close()
        assert time.monotonic() - opened > timeout_s / 2  # the last one stood that long at least
    return standing


def connections_closed_at_once(port: int) -> None:
    """As many connections again, which all go in one moment."""
    for connection in list(_connections(port, HALF_OPEN)):
        connection.close()


def _connections(port: int, most: int) -> Iterator[socket.socket]:
    """Connections, as many as the limit of files allows."""
    _, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))
    wanted = most if allowed == resource.RLIM_INFINITY else min(most, allowed - SPARE_FILES)
    assert wanted >= LEAST_HALF_OPEN, f"{allowed} files are too few for this"
    for _ in range(wanted):
        yield socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def slow_loris(port: int) -> None:
    """200 connections that send a message byte by byte and do not come to its end: closed by the login timeout."""
    text = message("LongCon", "LORIS" + "x" * 1000)
    with ExitStack() as stack:
        devices = [stack.enter_context(PlainDevice(port)) for _ in range(200)]
        started = time.monotonic()
        standing = {device.socket for device in devices}
        for place in range(int((TIMEOUT_S + PATIENCE_S) * 10)):
            for connection in tuple(standing):
                try:
                    connection.send(text[place : place + 1])
                except (ConnectionResetError, BrokenPipeError):
                    standing.discard(connection)
            closed, _, _ = select.select(standing, [], [], 0) if standing else ([], [], [])
            for connection in closed:
                assert connection.recv(1000) == b""
                standing.discard(connection)
            if not standing:
                break
            time.sleep(0.1)  # this is what slow means
        assert not standing, f"{len(standing)} still stand after {place / 10} s"
        assert time.monotonic() - started > TIMEOUT_S / 2


def connections_broken_off(port: int) -> None:
    """Connections that end at once, with a reset or in order, before, within or after a message."""
    sent = (b"", b'{"method":"HB","ho', message("HB", HOSTID), login(f"{HOSTID}0"), b"{}" * 100, b"\xff" * 100)
    register(port, f"{HOSTID}0")

    def break_off(number: int) -> None:
        for turn in rush():
            device = PlainDevice(port)
            device.send(sent[turn % len(sent)])
            if (turn // len(sent) + number) % 2:
                device.reset()
            else:
                device.socket.close()

    crowd(break_off)


def strangers(port: int) -> None:
    """Long connections of devices that nobody knows: refused and closed."""

    def intrude(number: int) -> None:
        for turn in rush():
            with PlainDevice(port) as device:
                device.send(message("LongCon", f"STRANGER{number}x{turn}"))
                refusal = device.rest()
                assert refusal == b'{"method":"LongCon","message":"unknown device","retcode":"000003"}', refusal

    crowd(intrude)


# --- logins -----------------------------------------------------------------------------------------------------------


def new_devices(port: int) -> None:
    """Logins of devices that were never seen before, each of which is registered, or told to try again."""

    def log_in(_: int) -> None:
        for _ in rush():
            answer = register(port, f"NEW{next(_names)}")
            assert answer["retcode"] in ("000000", "000006"), answer

    crowd(log_in, 2 * CROWD)


def wrong_passwords(port: int) -> None:
    """Guessing at passwords: refused or told to try again, ever more slowly; the right one works at another address."""
    hostids = [f"GUESSED{number}" for number in range(20)]
    for hostid in hostids:
        register(port, hostid)

    def guess(number: int) -> None:
        for turn in rush():
            with PlainDevice(port) as device:
                device.send(login(hostids[(turn + number) % len(hostids)], f"{next(_names)}"))
                answer = json.loads(device.rest())
                assert answer["retcode"] in ("000004", "000006"), answer

    crowd(guess, 2 * CROWD)
    for hostid in hostids:
        with PlainDevice(port, "127.0.0.2") as device:
            answer = device.ask(login(hostid))
            assert answer["retcode"] == "000000", answer


ABUSES: tuple[Callable[[int], object], ...] = (
    endless_string,
    endless_strings,
    endless_garbage,
    endless_blanks,
    endless_nesting,
    endless_brackets,
    laborious_documents,
    laborious_json,
    empty_objects,
    heartbeats_at_full_speed,
    unread_answers,
    slow_loris,
    connections_broken_off,
    strangers,
    new_devices,
    wrong_passwords,
    half_open_connections,
    connections_closed_at_once,
)
