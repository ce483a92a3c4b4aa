"""Make the first inputs of each target, out of the vectors and the tables of operations: ``python -m fuzz.seeds``.

They are added to what the files of ``corpus/`` have already: inputs that the engine has found stay.
"""

import json

from twisted.protocols import amp

from cmmd.control import commands
from cmmd.web.api.table import OPERATIONS, PREFIX
from cmmd.wire.messages import Login, encode
from fuzz.control import LINE
from fuzz.harness import RECORD, TARGETS, load_scripts, save_scripts
from fuzz.report import corpus_file
from fuzz.splitter import CUT
from fuzz.words import HOSTID
from tests.support import EXAMPLES
from tests.uploads import change_upload, full_upload
from tests.world import login_params

DEVICE = HOSTID.decode()
TIME = b"\x01"


def messages() -> list[bytes]:
    """Give messages of devices and servers: the vectors, and those that this daemon's own tests send."""
    more = [
        encode(Login(params=login_params())),
        encode(full_upload()),
        encode(change_upload({0: 231, 6: 5000}, {0: 0x40}, InhbitRemote=1)),
        *(_message(method) for method in ("LongCon", "HB", "timing", "reset")),
        _message("writeConfig", params="00050003FF007DEB,1", uid="order 1"),
        _message("reqdata", params="", itime=1_700_872_000_000),
    ]
    return [example.wire for example in EXAMPLES] + more


def _message(method: str, **more: object) -> bytes:
    return json.dumps({"method": method, "hostid": DEVICE, **more}).encode()


def splitter() -> list[bytes]:
    """Give streams, whole and cut."""
    found = messages()
    cut = [one[:9] + CUT + one[9:-3] + CUT + one[-3:] for one in found]
    return [*found, *cut, b"".join(found[:6]), b'xx{"a":"\x81\\"}\xef\xbb' + CUT + b'\xbf["{"]']


def lenient() -> list[bytes]:
    """Give documents with what the lenient decoder takes beyond JSON."""
    return [*messages(), b'{"a":1 "b":[1,2,],}', b'{"a":"\x01\xb0\xa1",\r\n"b":{"c":-1.5e3]}']


def session() -> list[bytes]:
    """Give scripts: each message alone, behind a login, on a session; and what a day has."""
    attach = _message("LongCon")
    alone = messages()
    later = RECORD + TIME + b"\x02"
    day = [attach, encode(full_upload()), TIME, _message("HB"), _message("HB"), b"\x03", TIME + b"\x02"]
    answered = [*day, _message("writeConfig", params="00050003FF007DEB,1", uid="order 1"), b"\x02"]
    return [
        *alone,
        *(attach + RECORD + one + later for one in alone),
        *(b"\x05" + RECORD + attach + one + one for one in alone),
        RECORD.join(answered),
        RECORD.join([b"\x05", *answered]),
        RECORD.join([attach, b"\x06", _message("HB") * 50, b"\x06", later]),
        RECORD.join([attach, b"\x04", attach, _message("reset"), b"\x05", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]),
    ]


_VALUES = {
    b"hostid": HOSTID,
    b"changes": b'{"history_interval":5,"data_mode":0,"read_as":null}',
    b"policy": b"approve",
    b"input": b"remote_inhibited",
    b"name": b"stop",
    b"result": b"00050003FF007DEB",
    b"points": b"ua,ub",
    b"override": b"remote_inhibited",
    b"timeout": b"2.5",
    b"password": b"654321",
    b"after": b"1",
}


def control() -> list[bytes]:
    """Give a request of each command, without what is optional and with all of it."""
    kinds = [
        kind
        for kind in vars(commands).values()
        if isinstance(kind, type) and issubclass(kind, amp.Command) and not kind.__name__.startswith("_")
    ]
    least = [_request(kind, optional=False) for kind in kinds]
    whole = [_request(kind, optional=True) for kind in kinds]
    enrolled = b"_command=Enrol" + LINE + b"hostid=OTHER-1" + RECORD
    broken = [b"\x02\x00\x04_ask\x00\x011\x00\x08_command\x00\x06Status\x00\x00", b"\x03_command=Status", b"_answer=1"]
    return [*least, *whole, *broken, enrolled + RECORD.join(least), RECORD.join(whole)]


def _request(kind: type[amp.Command], *, optional: bool) -> bytes:
    lines = [b"_command=" + kind.__name__.encode()]
    for name, argument in kind.arguments:
        if optional or not argument.optional:
            is_flag = isinstance(argument, amp.Boolean)
            lines.append(name + b"=" + _VALUES.get(name, b"True" if is_flag else b"1"))
    return LINE.join(lines)


def web() -> list[bytes]:
    """Give a request of each operation, forms, and what HTTP has besides."""
    found = []
    places = {"{hostid}": DEVICE, "{number}": "1", "{name}": "hgm6120n", "{input}": "remote_inhibited"}
    for operation in OPERATIONS:
        path = PREFIX + operation.path
        for place, value in places.items():
            path = path.replace(place, value)
        body = b"" if operation.body is None else b'{"token":"$VIEWER","hostid":"A","name":"stop","reason":"x"}'
        found.append(_http(operation.method.encode(), path.encode(), b"Accept: */*", body=body))
    form = b'--x\r\nContent-Disposition: form-data; name="token"; filename="a"\r\n\r\n$ADMIN\r\n--x--\r\n'
    session_address = b"/api/v1/session"
    found += [
        *(_http(b"GET", path) for path in (b"/", b"/healthz", b"/metrics", b"/js/main.js", b"/%2e%2e/etc/passwd")),
        _http(b"POST", session_address, b"Content-Type: multipart/form-data; boundary=x", body=form),
        _http(b"POST", session_address, b"Content-Type: application/x-www-form-urlencoded", body=b"token=%41&a=b;c=d"),
        _http(b"POST", session_address, b"Content-Type: application/json", body=b'{"token":"$ADMIN"}'),
        _http(b"GET", b"/api/v1/devices?limit=1&after=1&online=true&q=%ff", b"Accept-Encoding: gzip;q=0.5, br"),
        _http(b"GET", b"/api/v1/events", b"Accept: text/event-stream", b"Last-Event-ID: 1") + RECORD + TIME + b"\x03",
        _http(b"GET", b"/api/v1/status", b"Cookie: cmmd_session=abc; a=b", b'If-None-Match: "a", W/"b", *'),
        _http(b"GET", b"http://gensets.example/healthz", b"Range: bytes=0-1", b"X-Forwarded-For: 1.2.3.4, ::1"),
        _http(b"OPTIONS", b"*") + _http(b"HEAD", b"/healthz") + _http(b"GET", b"/healthz", b"Connection: close"),
        b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        + RECORD
        + b"{}x",
        b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nA: b\r\n\r\n",
        _http(b"GET", b"/healthz") + RECORD + b"\x06" + RECORD + _http(b"GET", b"/metrics") * 3 + RECORD + b"\x06",
    ]
    return found


def _http(method: bytes, path: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    head = [method + b" " + path + b" HTTP/1.1", b"Host: gensets.example", b"Authorization: Bearer $ADMIN", *lines]
    if body:
        kind = [] if any(line.startswith(b"Content-Type") for line in lines) else [b"Content-Type: application/json"]
        head += [*kind, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def main() -> None:
    """Add the first inputs to the files."""
    made = {"splitter": splitter, "lenient": lenient, "session": session, "control": control, "web": web}
    for name in TARGETS:
        path = corpus_file(name)
        kept = load_scripts(path) if path.exists() else []
        save_scripts(path, dict.fromkeys([*made[name](), *kept]))


if __name__ == "__main__":
    main()
