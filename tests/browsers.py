"""Requests that a web page can have a browser send to any port, with a body of the page's choice, by name."""

from collections.abc import Mapping
from urllib.parse import quote

from tests.plain_device import login, message

__all__ = ["FOREIGN", "HOST", "LOGIN", "browser_requests"]

LOGIN = login("BROWSER1")
HOST = b"Host: gensets.example:21318\r\n"
EVIL = b"Origin: http://evil.example\r\nReferer: http://evil.example/\r\n"
AGENT = b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/131.0.0.0 Safari/537.36\r\nConnection: keep-alive\r\n"


def _post(
    body: bytes, kind: bytes = b"text/plain;charset=UTF-8", *, first: bytes = b"POST / HTTP/1.1\r\n", host: bytes = HOST
) -> bytes:
    return first + host + AGENT + EVIL + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body


def _get(path: bytes, *fields: bytes, first: bytes = b"GET", version: bytes = b"HTTP/1.1", host: bytes = HOST) -> bytes:
    return b"%s %s %s\r\n" % (first, path, version) + host + AGENT + b"".join(one + b"\r\n" for one in fields) + b"\r\n"


def _multipart(body: bytes, *, name: bytes = b"a") -> bytes:
    part = b'Content-Disposition: form-data; name="%s"; filename="a.json"\r\nContent-Type: text/plain\r\n\r\n' % name
    return _post(b"--x\r\n" + part + body + b"\r\n--x--\r\n", b"multipart/form-data; boundary=x")


def _chunks(body: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\n" + HOST + AGENT + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


def _client_hello(body: bytes) -> bytes:
    """The first record of TLS, whose session ticket, which a server of the page's owner has made, is the body."""
    ticket = b"\x00\x23" + len(body).to_bytes(2, "big") + body
    inner = (
        b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00" + len(ticket).to_bytes(2, "big") + ticket
    )
    handshake = b"\x01" + len(inner).to_bytes(3, "big") + inner
    return b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake


def _stun(body: bytes, *, framed: bool = False) -> bytes:
    """An Allocate request of TURN, or a check of ICE over TCP, with the body as the name of the user."""
    name = body + b"\0" * (-len(body) % 4)
    attributes = b"\x00\x06" + len(body).to_bytes(2, "big") + name
    kind = b"\x00\x01" if framed else b"\x00\x03"
    whole = kind + len(attributes).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(range(12)) + attributes
    return (len(whole).to_bytes(2, "big") if framed else b"") + whole


def browser_requests(body: bytes) -> Mapping[str, bytes]:
    """All kinds of requests, each with this body in it, in its address or behind it, as a proxy or an attacker puts it.

    :param body: a message that the door would obey.
    """
    escaped = quote(body).encode()
    socket_key = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    asks = (b"Access-Control-Request-Method: PUT", b"Access-Control-Request-Private-Network: true")
    return {
        "form, urlencoded": _post(b"a=" + escaped, b"application/x-www-form-urlencoded"),
        "form, urlencoded, not escaped": _post(body, b"application/x-www-form-urlencoded"),
        "form, multipart": _multipart(body),
        "form, multipart, in the name": _multipart(b"", name=body),
        "form, text/plain": _post(b'{"a":"=' + b'"}' + body + b"\r\n", b"text/plain"),
        "form, GET": _get(b"/?a=" + escaped),
        "fetch, no-cors": _post(body),
        "fetch, no-cors, many": _post(body + b"\n" + body * 3),
        "fetch, JSON": _post(body, b"application/json"),
        "fetch, PUT": _post(body, first=b"PUT / HTTP/1.1\r\n"),
        "fetch, in the address": _get(b"/" + body.replace(b" ", b"%20")),
        "XMLHttpRequest": _post(body, b"application/json;charset=UTF-8"),
        "sendBeacon": _post(body, b"application/octet-stream"),
        "chunks": _chunks(body),
        "preflight": _get(b"/", *asks, first=b"OPTIONS") + body,
        "WebSocket": _get(b"/chat", *socket_key, b"Sec-WebSocket-Protocol: a") + body,
        "EventSource": _get(b"/", b"Accept: text/event-stream", b"Last-Event-ID: " + body.replace(b"\n", b" ")),
        "image": _get(b"/a.png?" + escaped, b"Accept: image/avif,image/webp,*/*"),
        "HEAD": _get(b"/", first=b"HEAD") + body,
        "HTTP/1.0 without Host": _post(body, first=b"POST / HTTP/1.0\r\n", host=b""),
        "HTTP/0.9": b"GET /\r\n" + body,
        "lines before": b"\r\n\r\n" + _post(body, host=b""),
        "small letters": _post(body, first=b"patch / HTTP/1.1\r\n", host=b""),
        "method that is not registered": _post(body, first=b"FROB / HTTP/1.1\r\n"),
        "method that looks registered": _post(body, first=b"GETTER / HTTP/1.1\r\n"),
        "through a proxy": _post(body, first=b"POST http://gensets.example:21318/ HTTP/1.1\r\n"),
        "tunnel": _get(b"gensets.example:21318", first=b"CONNECT") + body,
        "host in small letters": _post(body, first=b"FROB / HTTP/1.1\r\n", host=b"host:x\r\n"),
        "no carriage returns": _post(body, first=b"FROB /\n", host=b"Host: x\n"),
        "host comes first": HOST + body,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + body,
        "TLS hello": _client_hello(body),
        "TLS hello of SSL 3.0": bytes.fromhex("1603000030") + body,
        "TURN": _stun(body),
        "ICE over TCP": _stun(body, framed=True),
    }


FOREIGN: Mapping[str, bytes] = {
    **browser_requests(LOGIN),
    "fetch, a long connection behind it": _post(LOGIN + b"\n" + message("LongCon", "BROWSER1") * 3),
    "host behind other fields": _post(LOGIN, first=b"FROB / HTTP/1.1\r\n" + EVIL, host=b"hOsT : x\r\nHOST: x\r\n"),
}
"""Requests with a login in them, for the port of devices."""
