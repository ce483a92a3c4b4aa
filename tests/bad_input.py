"""Bad input, kind by kind, and what each gets for an answer on a long connection (protocol sections 2, 4 and 6)."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast, get_args

from msgspec import inspect

from cmmd.wire import messages
from tests.plain_device import login, message

__all__ = ["BadInput", "Expected", "bad_input"]

MAX_FRAME = 64 * 1024
MAX_DEPTH = 16


@dataclass(frozen=True)
class Expected:
    """An answer: its method and retcode, and a word that its message holds."""

    method: str = "error"
    retcode: str = "000001"
    mentions: str = ""


NOT_UNDERSTOOD = Expected()
NO_METHOD = Expected(mentions="method")
UNKNOWN_METHOD = Expected(retcode="000002")
HB_OK = Expected("HB", "000000")
UPLOAD_OK = Expected("reqdata", "000000")
FOREIGN = Expected("HB", "000003")


@dataclass(frozen=True)
class BadInput:
    """One kind of it.

    :ivar sent: what a device sends on its long connection; a heartbeat may follow it in the same segment.
    :ivar answers: what it gets, in this order.
    :ivar closes: the server closes then; else the session goes on as if nothing had been.
    :ivar drops: it does not wait for the peer's end: where bytes were unread, that is a reset.
    """

    name: str
    sent: bytes
    answers: tuple[Expected, ...]
    closes: bool = False
    drops: bool = False


def bad_input(hostid: str) -> list[BadInput]:
    """All kinds, as the device with this hostid would send them."""
    generators = (
        _garbage(),
        _foreign(),
        _not_json(hostid),
        _numbers(hostid),
        _text(hostid),
        _keys(hostid),
        _nesting(hostid),
        _lengths(hostid),
        _between(hostid),
        _methods(hostid),
        _strangers(hostid),
        _fields(hostid),
    )
    found = [one for generator in generators for one in generator]
    assert len({one.name for one in found}) == len(found), "two kinds have the same name"
    return found


def _heartbeat(hostid: str, params: bytes) -> bytes:
    """A heartbeat with ``params`` as they stand."""
    return b'{"method":"HB","params":%s,"hostid":"%s"}' % (params, hostid.encode())


def _garbage() -> Iterator[BadInput]:
    """What does not begin an object: skipped up to the next brace, one error for the run."""
    runs = {
        "SSH banner": b"SSH-2.0-OpenSSH_9.6p1 Debian-4\r\n",
        "SMTP": b"EHLO example.com\r\nMAIL FROM:<root@example.com>\r\n",
        "Modbus TCP": bytes.fromhex("000100000006010300000050"),
        "Modbus RTU": bytes.fromhex("01030000005045F6"),
        "MQTT CONNECT": bytes.fromhex("101000044d5154540402003c000463616d65"),
        "RDP": bytes.fromhex("030000130ee000000000000100080003000000"),
        "SOCKS5": b"\x05\x01\x00",
        "an array": b"[1,2,3]",
        "a string": b'"login"',
        "a number": b"42",
        "a closing brace": b"}",
        "closing brackets": b"]}]}]}",
        "a quote": b'"',
        "a backslash": b"\\",
        "a comma": b",",
        "half a BOM": b"\xef\xbb",
        "a BOM of UTF-16": b"\xff\xfe",
        "bytes 0x80 to 0xff": bytes(range(0x80, 0x100)),
        "0xff": b"\xff" * 1000,
    }
    for name, run in runs.items():
        yield BadInput(f"garbage: {name}", run, (NOT_UNDERSTOOD,))
    for seed in range(10):
        run = b"\x01" + random.Random(seed).randbytes(500).replace(b"{", b"")
        yield BadInput(f"garbage: random bytes {seed}", run, (NOT_UNDERSTOOD,))
    yield BadInput("garbage: between white space", b" \r\n x \r\n ", (NOT_UNDERSTOOD,))
    yield BadInput("garbage: twice", b"x{}y", (NOT_UNDERSTOOD, NO_METHOD, NOT_UNDERSTOOD))
    yield BadInput("garbage: three runs", b"x{}y{}z", (NOT_UNDERSTOOD, NO_METHOD) * 2 + (NOT_UNDERSTOOD,), closes=True)
    yield BadInput("garbage: 200 KiB", b"x" * 200 * 1024, (NOT_UNDERSTOOD,) * 3, closes=True)


def _foreign() -> Iterator[BadInput]:
    """Other protocols, behind a message: a Host line ends the connection, the rest is garbage there."""
    get = b"GET / HTTP/1.1\r\nHost: cmmd.example.com\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
    yield BadInput("foreign: HTTP with Host", get, (), closes=True, drops=True)
    yield BadInput("foreign: Host behind a message", b'{"method":"HB"}\nhOST: x\n', (), closes=True, drops=True)
    post = b'POST /login HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
    yield BadInput("foreign: HTTP without Host", post, (NOT_UNDERSTOOD, NO_METHOD))
    hello = bytes.fromhex("16030100a5010000a10303") + bytes(range(32)) + b"\x20" + bytes(range(64, 96))
    yield BadInput("foreign: TLS ClientHello", hello, (NOT_UNDERSTOOD,))


def _not_json(hostid: str) -> Iterator[BadInput]:
    """In braces, but not even near JSON."""
    documents = {
        "bare word": b"{hello}",
        "key without quotes": b'{method:"HB"}',
        "single quotes": b"{'method':'HB'}",
        "no colon": b'{"method" "HB"}',
        "no value": b'{"method":}',
        "two colons": b'{"method"::"HB"}',
        "two commas": b'{"method":"HB",,"hostid":"x"}',
        "leading comma": b'{,"method":"HB"}',
        "missing comma in an array": b'{"a":[1 2]}',
        "comment": b'{"method":"HB" /* why */}',
        "upper-case literal": _heartbeat(hostid, b"TRUE"),
        "Python's None": _heartbeat(hostid, b"None"),
        "cut literal": _heartbeat(hostid, b"tru"),
        "escape x": _heartbeat(hostid, rb'"\x41"'),
        "escape with three digits": _heartbeat(hostid, rb'"\u041"'),
        "escape with letters": _heartbeat(hostid, rb'"\uZZZZ"'),
        "expression": _heartbeat(hostid, b"1+1"),
        "NUL instead of a value": _heartbeat(hostid, b"\0"),
        "vertical bar": b"{|}",
        "format string": b"{%s%n}",
        "template": b"{{7*7}}",
        "only brackets": b"{[]}",
        "a string alone": b'{"method"}',
    }
    for name, document in documents.items():
        yield BadInput(f"not JSON: {name}", document, (NOT_UNDERSTOOD,))
    yield BadInput("not JSON: three times", b"{a}{b}{c}", (NOT_UNDERSTOOD,) * 3, closes=True)


def _numbers(hostid: str) -> Iterator[BadInput]:
    """Numbers that JSON does not have, or that no field holds."""
    for number in (
        *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5000, b"-" + b"9" * 60_000, b"012", b"00"),
        *(b"+1", b".5", b"1.", b"-", b"1e", b"0x10", b"1_000", b"--1", b"1.2.3", b"1e5e5", "１".encode(), b"1/2"),
    ):
        name = number[:20].decode()
        yield BadInput(f"number in HB: {name}", _heartbeat(hostid, number), (NOT_UNDERSTOOD,))
    for number in (b"-0", b"-0.0", b"1e-400", b"0.1", b"1E+3", b"12345678901234567890"):
        yield BadInput(f"number in HB, ignored: {number.decode()}", _heartbeat(hostid, number), (HB_OK,))
    for number in (
        b"-1",
        b"1.5",
        b"1e30",
        b"9223372036854775808",
        b'"-1"',
        b'"1.5"',
        b'"' + b"9" * 4000 + b'"',
        b'"x"',
    ):
        change = b'{"method":"reqdatachange","params":{"packetnum":%s},"hostid":"%s"}' % (number, hostid.encode())
        name = number[:20].decode()
        yield BadInput(f"packetnum {name}", change, (Expected("reqdata", "000001", "packetnum"),))
    change = b'{"method":"reqdatachange","params":{"packetnum":-0},"hostid":"%s"}' % hostid.encode()
    yield BadInput("packetnum -0", change, (UPLOAD_OK,))


def _text(hostid: str) -> Iterator[BadInput]:
    """Text in every bad encoding: what is in it does not matter to a heartbeat, and spoils nothing."""
    values = {
        "invalid UTF-8": b'"\xff\xfe\xc0\x80"',
        "overlong UTF-8": b'"\xc0\xaf\xe0\x80\xaf"',
        "surrogates in UTF-8": b'"\xed\xa0\x80\xed\xbf\xbf"',
        "cut UTF-8": b'"\xe5\x8f"',
        "continuation bytes": b'"' + b"\x80" * 100 + b'"',
        "beyond Unicode": b'"\xf4\x90\x80\x80\xf5\x80\x80\x80"',
        "GB18030": '"发电机"'.encode("gb18030"),
        "GB18030 with 0x5C": b'"\x81\x5c\x82\x5c\x98\x5c"',
        "GB18030 with 0x7B and 0x7D": b'"\x81\x7b\x82\x7d"',
        "GB18030 of four bytes": b'"\x81\x30\x81\x30"',
        "lone high surrogate": rb'"\ud800"',
        "lone low surrogate": rb'"\udc00x"',
        "reversed surrogates": rb'"\udc00\ud800"',
        "escaped NUL": rb'"\u0000"',
        "raw control characters": b'"' + bytes(range(0x20)) + b'"',
        "DEL": b'"\x7f"',
        "terminal escapes": b'"\x1b]0;owned\x07\x1b[2J"',
        "bidirectional override": '"\u202e\u2066"'.encode(),
        "brackets": b'"}]{[}}}}"',
        "quotes and backslashes": rb'"\"\\\"}{\\"',
        "line ends": b'"\r\n\r\n"',
    }
    for name, value in values.items():
        yield BadInput(f"text: {name}", _heartbeat(hostid, value), (HB_OK,))
        as_hostid = b'{"method":"HB","hostid":%s}' % value
        yield BadInput(f"hostid: {name}", as_hostid, (FOREIGN,) if len(value) < 24 else (Expected("HB"),))
        as_method = b'{"method":%s,"hostid":"%s"}' % (value, hostid.encode())
        yield BadInput(f"method: {name}", as_method, (UNKNOWN_METHOD,))
        as_key = b'{"method":"HB",%s:1,"hostid":"%s"}' % (value, hostid.encode())
        yield BadInput(f"key: {name}", as_key, (HB_OK,))


def _keys(hostid: str) -> Iterator[BadInput]:
    """Keys more than once, and keys that mean something elsewhere. The last one counts."""
    own, other = hostid.encode(), b"SOMEBODY"
    two = b'{"method":"HB","hostid":"%s","hostid":"%s"}'
    yield BadInput("two hostids, the last one right", two % (other, own), (HB_OK,))
    yield BadInput("two hostids, the last one foreign", two % (own, other), (FOREIGN,))
    yield BadInput("two methods", b'{"method":"LongCon","method":"HB","hostid":"%s"}' % own, (HB_OK,))
    spelt = b'{"method":"HB","hostid":"%s","HOSTID":"%s"}'
    yield BadInput("two spellings of hostid, the last one foreign", spelt % (own, other), (FOREIGN,))
    for key in ("__proto__", "constructor", "__class__", "", " ", "\0", "$ref", "a" * 5000):
        document = json.dumps({"method": "HB", key: {"a": 1}, "hostid": hostid}).encode()
        yield BadInput(f"unknown key {key[:20]!r}", document, (HB_OK,))
    many = {f"key{number}": number for number in range(1000)}
    yield BadInput("1,000 unknown keys", json.dumps({**many, "method": "HB", "hostid": hostid}).encode(), (HB_OK,))
    same = b'"a":1,' * 1000
    yield BadInput("a key 1,000 times", b'{%s"method":"HB","hostid":"%s"}' % (same, own), (HB_OK,))


def _nesting(hostid: str) -> Iterator[BadInput]:
    """Deeper than 16: one error, and its end is found."""
    too_deep = Expected(mentions="nested")
    for name, opener, closer in (("objects", b'{"a":', b"}"), ("arrays", b"[", b"]")):
        for depth in (MAX_DEPTH - 1, MAX_DEPTH, 1000, 5000):
            value = opener * depth + b"1" + closer * depth
            answers = (HB_OK,) if depth < MAX_DEPTH else (too_deep,)
            yield BadInput(f"{depth} {name} in an object", _heartbeat(hostid, value), answers)
    mixed = b'[{"a":' * 2000 + b"1" + b"}]" * 2000
    yield BadInput("4,000 mixed levels", _heartbeat(hostid, mixed), (too_deep,))
    crossed = b'[{"a":' * 20 + b"1" + b"]}" * 20
    yield BadInput("40 levels with crossed closers", _heartbeat(hostid, crossed), (too_deep,))
    yield BadInput("braces without end", b"{" * 300_000, (too_deep, Expected(), Expected()), closes=True)
    yield BadInput("brackets without end", b'{"a":' + b"[" * 300_000, (too_deep, Expected(), Expected()), closes=True)


def _lengths(hostid: str) -> Iterator[BadInput]:
    """Longer than 64 KiB, or than a field may be."""
    shell = len(_heartbeat(hostid, b'""'))
    largest = _heartbeat(hostid, b'"' + b"x" * (MAX_FRAME - shell) + b'"')
    too_long = Expected(mentions="longer")
    yield BadInput("the longest document", largest, (HB_OK,))
    yield BadInput("one byte too long", largest.replace(b"x", b"xx", 1), (too_long,))
    yield BadInput("100 KiB", _heartbeat(hostid, b'"' + b"x" * 100_000 + b'"'), (too_long,))
    yield BadInput("300 KiB", _heartbeat(hostid, b'"' + b"x" * 300_000 + b'"'), (too_long,) * 3, closes=True)
    yield BadInput("300 KiB of blanks in it", _heartbeat(hostid, b" " * 300_000 + b"1"), (too_long,) * 3, closes=True)
    yield BadInput(
        "300 KiB of escapes", _heartbeat(hostid, b'"' + rb"\"" * 150_000 + b'"'), (too_long,) * 3, closes=True
    )
    yield BadInput("a key of 60,000 characters", b'{"%s":1}' % (b"x" * 60_000), (NO_METHOD,))
    yield BadInput("a method of 60,000 characters", message("x" * 60_000, hostid), (UNKNOWN_METHOD,))
    yield BadInput("a hostid of 60,000 characters", message("HB", "x" * 60_000), (Expected("HB", mentions="hostid"),))


def _between(hostid: str) -> Iterator[BadInput]:
    """What is skipped between documents, without an answer."""
    heartbeat = message("HB", hostid)
    for name, skipped in {
        "NULs": b"\0" * 1000,
        "BOM": b"\xef\xbb\xbf",
        "many BOMs": b"\xef\xbb\xbf" * 1000,
        "line ends": b"\r\n" * 1000,
        "blanks": b" \t\v\f" * 50_000,
        "everything": b" \0\xef\xbb\xbf\r\n",
    }.items():
        yield BadInput(f"{name} between documents", skipped + heartbeat + skipped, (HB_OK,))


def _methods(hostid: str) -> Iterator[BadInput]:
    """Methods that are none, or not a device's."""
    for method in ("", "selfdestruct", "hb", "LOGIN", "longcon", "H B", "error", "method", "__init__", "x" * 1000):
        yield BadInput(f"method {method[:20]!r}", message(method, hostid), (UNKNOWN_METHOD,))
    for value in (None, 1, 1.5, True, [], {}, ["HB"], {"HB": 1}):
        document = json.dumps({"method": value, "hostid": hostid}).encode()
        yield BadInput(f"method is {value!r}", document, (NO_METHOD,))
    yield BadInput("no method", json.dumps({"hostid": hostid}).encode(), (NO_METHOD,))
    yield BadInput("an empty object", b"{}", (NO_METHOD,))
    yield BadInput("1,000 empty objects", b"{}" * 1000, (NO_METHOD,) * 1000)
    # Answers to commands that were never sent get none, and are counted.
    for name, answer in {
        "writeConfig": message("writeConfig", hostid, params="00050003FF007DEB,1", uid="123456"),
        "writeConfig without uid": message("writeConfig", hostid, params="00050003FF007DEB,1"),
        "writeConfig of port and baud": message("writeConfig", hostid, modulePort=1, moduleBaud=0, uid="123456"),
        "writeConfig without anything": message("writeConfig", hostid),
        "reset": message("reset", hostid),
        "100 of writeConfig": message("writeConfig", hostid, params="00050003FF007DEB,1", uid="1") * 100,
    }.items():
        yield BadInput(f"unexpected answer: {name}", answer, ())


def _strangers(hostid: str) -> Iterator[BadInput]:
    """Another device's hostid: refused, and the session goes on."""
    others: dict[str, dict[str, Any]] = {
        "LongCon": {},
        "HB": {"params": ""},
        "reqdata": {"params": ""},
        "reqdatachange": {"params": {}},
        "timing": {},
        "writeConfig": {"params": "00050003FF007DEB,1"},
        "reset": {},
    }
    for method, more in others.items():
        expected = Expected("reqdata" if method == "reqdatachange" else method, "000003")
        for other in ("SOMEBODY", hostid.lower(), hostid[:-1], "'; DROP TABLE device; --", "../../etc/passwd"):
            yield BadInput(f"{method} of {other}", message(method, other, **more), (expected,))
    yield BadInput("login of another device", login("SOMEBODY"), (Expected("login", "000003"),))


# --- every field of every message: missing, of the wrong type, out of range, too long ---------------------------------


def _fields(hostid: str) -> Iterator[BadInput]:
    """Generated from the tables of ``cmmd.wire.messages``."""
    right: dict[str, dict[str, Any]] = {
        "login": json.loads(login(hostid)),
        "LongCon": {},
        "HB": {"params": ""},
        "reqdata": {"params": ""},
        "reqdatachange": {"params": {}},
        "timing": {},
        "writeConfig": {"params": "00050003FF007DEB,1"},
        "reset": {},
    }
    for kind in get_args(messages.DeviceMessage):
        info = cast("inspect.StructType", inspect.type_info(kind))
        method = str(info.tag)
        whole = {"method": method, "hostid": hostid, **right[method]}
        if method == "login":
            del whole["hostid"]  # there it would count where params had none
        expected = Expected("reqdata" if method == "reqdatachange" else method)
        yield from _fields_of(info, whole, (), expected)


def _fields_of(
    info: inspect.StructType, whole: dict[str, Any], path: tuple[str, ...], expected: Expected
) -> Iterator[BadInput]:
    method = whole["method"]
    for one in info.fields:
        key = one.encode_name
        if (method, key) in IGNORED:
            continue
        here = (*path, key)
        named = Expected(expected.method, expected.retcode, key)
        if one.required:
            document = json.dumps(_with(whole, here, _MISSING)).encode()
            yield BadInput(f"{method}: no {'.'.join(here)}", document, (named,))
        for wrong in _wrong_values(one.type):
            document = json.dumps(_with(whole, here, wrong)).encode()
            yield BadInput(f"{method}: {'.'.join(here)} is {_short(wrong)}", document, (named,))
        for option in _options(one.type):
            if isinstance(option, inspect.StructType):
                yield from _fields_of(option, whole, here, expected)


_MISSING = object()

IGNORED = {("reqdatachange", name) for name in ("longitude", "latitude", "altitude")}
"""A place that cannot be read does not cost an upload its values."""


def _with(whole: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The object with another value at this path."""
    key, *rest = path
    changed = dict(whole)
    if rest:
        changed[key] = _with(whole[key], tuple(rest), value)
    elif value is _MISSING:
        changed.pop(key, None)
    else:
        changed[key] = value
    return changed


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 30 else f"{text[:20]}... ({len(text)} characters)"


def _options(info: inspect.Type) -> tuple[inspect.Type, ...]:
    return info.types if isinstance(info, inspect.UnionType) else (info,)


def _wrong_values(info: inspect.Type) -> Iterator[object]:
    """What a field of this type does not take. Numbers in text and text in numbers it does."""
    options = _options(info)
    if not any(isinstance(option, inspect.NoneType | inspect.AnyType) for option in options):
        yield None
    wrong = [listed for option in options if (listed := list(_wrong_for(option)))]
    for value in wrong[0] if wrong else ():
        if all(any(type(one) is type(value) and one == value for one in listed) for listed in wrong):
            yield value


def _wrong_for(option: inspect.Type) -> Iterator[object]:
    """What one type of a union does not take."""
    match option:
        case inspect.StrType():
            yield from ([], {}, ["x"], {"x": 1}, True, False)
            if option.max_length is not None:
                yield from ("x" * (option.max_length + 1), "机" * (option.max_length + 1), "x" * 10_000)
            if option.min_length:
                yield ""
            if option.pattern is not None:
                yield from ("机", "a b", "a\n", "\0", "\u202e")
        case inspect.IntType():
            yield from ([], {}, [1], {"x": 1}, True, False, "x", "1x", "0x1", 1.5, -1, -(2**63), 2**64, 10**40)
            if option.le is not None:
                yield from (option.le + 1, str(option.le + 1))
        case inspect.StructType():
            yield from ([], 1, True, "x", "[]", "{", [{}])
        case inspect.ListType():
            yield from ({}, 1, "x", True, [1], ["x"], [None], [[]], [{"0000": None}], [{"0000": {}}])
