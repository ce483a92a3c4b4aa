"""What browsers can be made to send to the port of devices, with a login in it, by name."""

from collections.abc import Mapping

from tests.plain_device import login, message

__all__ = ["FOREIGN", "HOST", "LOGIN"]

LOGIN = login("BROWSER1")
HOST = b"Host: gensets.example:21318\r\n"
REST = b"Origin: http://evil.example\r\nContent-Type: text/plain;charset=UTF-8\r\n"


def post(body: bytes, *, first: bytes = b"POST / HTTP/1.1\r\n", host: bytes = HOST) -> bytes:
    return first + host + REST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def stun(*, framed: bool = False) -> bytes:
    """An Allocate request of TURN, or a check of ICE over TCP, with a document as the name of the user."""
    name = LOGIN + b"\0" * (-len(LOGIN) % 4)
    attributes = b"\x00\x06" + len(LOGIN).to_bytes(2, "big") + name
    kind = b"\x00\x01" if framed else b"\x00\x03"
    whole = kind + len(attributes).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(range(12)) + attributes
    return (len(whole).to_bytes(2, "big") if framed else b"") + whole


FOREIGN: Mapping[str, bytes] = {
    "fetch, no-cors": post(LOGIN),
    "fetch, many documents": post(LOGIN + b"\n" + message("LongCon", "BROWSER1") * 3),
    "form, text/plain": post(b'{"a":"=' + b'"}' + LOGIN + b"\r\n"),
    "form, multipart": post(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + LOGIN + b"\r\n--x--\r\n"),
    "chunks": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(LOGIN)
    + LOGIN
    + b"\r\n0\r\n\r\n",
    "HTTP/1.0 without Host": post(LOGIN, first=b"POST / HTTP/1.0\r\n", host=b""),
    "lines before": b"\r\n\r\n" + post(LOGIN, host=b""),
    "small letters": post(LOGIN, first=b"patch / HTTP/1.1\r\n", host=b""),
    "method that nobody registered": post(LOGIN, first=b"FROB / HTTP/1.1\r\n"),
    "method that looks registered": post(LOGIN, first=b"GETTER / HTTP/1.1\r\n"),
    "host in small letters": post(LOGIN, first=b"FROB / HTTP/1.1\r\n", host=b"host:x\r\n"),
    "host behind other fields": post(LOGIN, first=b"FROB / HTTP/1.1\r\n" + REST, host=b"hOsT : x\r\nHOST: x\r\n"),
    "no carriage returns": post(LOGIN, first=b"FROB /\n", host=b"Host: x\n"),
    "host comes first": HOST + LOGIN,
    "WebSocket": b"GET /chat HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + LOGIN,
    "preflight": b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Access-Control-Request-Method: PUT\r\n\r\n" + LOGIN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + LOGIN,
    "TLS hello": bytes.fromhex("16030100a5010000a10303") + LOGIN,
    "TLS hello of SSL 3.0": bytes.fromhex("1603000030") + LOGIN,
    "TURN": stun(),
    "ICE over TCP": stun(framed=True),
}
