"""Requests by which HTTP clients without a token try to cost a daemon CPU time or log, for tests and benchmarks."""

from collections.abc import Mapping

__all__ = ["ATTACKS", "FLOODS", "chunked"]

SESSION = b"/api/v1/session"


def request(method: bytes, path: bytes, *headers: bytes, body: bytes | None = None) -> bytes:
    """One request. A body gets its Content-Length, unless a header says ``chunked``."""
    sent = [b"Host: gensets.example", *headers]
    if body is not None and not any(b"chunked" in one for one in headers):
        sent.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([method + b" " + path + b" HTTP/1.1", *sent]) + b"\r\n\r\n" + (body or b"")


def typed(content_type: bytes, body: bytes) -> bytes:
    """A POST with a content type."""
    return request(b"POST", SESSION, b"Content-Type: " + content_type, body=body)


def chunked(body: bytes) -> bytes:
    """A POST of chunks."""
    return request(b"POST", SESSION, b"Transfer-Encoding: chunked", body=body)


def got(*headers: bytes, path: bytes = b"/healthz") -> bytes:
    """A GET."""
    return request(b"GET", path, *headers)


ATTACKS: Mapping[str, bytes] = {
    "content type, semicolons": typed(b"multipart/form-data" + b";" * 15_000, b"x"),
    "content type, brackets": typed(b"a/b" + b"(" * 15_000, b"x"),
    "content type, quotes": typed(b"multipart/form-data; a=" + b'"\\' * 7000, b"x"),
    "multipart": typed(b"multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n" * 6000 + b"--x--"),
    "multipart, headers": typed(b"multipart/form-data; boundary=x", b"--x\r\n" + b"a:b\r\n" * 13_000),
    "form": typed(b"application/x-www-form-urlencoded", b"%61=%62&" * 8000),
    "JSON, brackets": typed(b"application/json", b"[" * 60_000),
    "JSON, endless text": typed(b"application/json", b'{"token":"' + b"x" * 60_000),
    "query": got(path=b"/healthz?" + b"a=&" * 2700),
    "query, escapes": got(path=b"/api/v1/devices?" + b"%61=%62&" * 950),
    "path": got(path=b"/" * 8000),
    "path, escapes": got(path=b"/" + b"%41" * 2700),
    "cookies": got(b"Cookie: " + b";" * 16_000),
    "cookies, names": got(b"Cookie: " + b"cmmd_session=;" * 1100, path=b"/api/v1/status"),
    "Accept": got(b"Accept: " + b"a/b;q=0," * 1900, path=b"/api/v1/openapi.json"),
    "Accept-Encoding": got(b"Accept-Encoding: " + b"a;q=0," * 2500, path=b"/"),
    "ranges": got(b"Range: bytes=" + b"0-1," * 3900, path=b"/"),
    "conditions": got(b"If-None-Match: " + b'"a",' * 3900, path=b"/api/v1/openapi.json"),
    "headers": got(*(b"a%d:" % number for number in range(490))),
    "folded header": got(b"A: b", *[b" "] * 16_000),
    "lines": b"\r\n" * 32_000,
    "lines that are nonsense": b"x\r\n" * 30_000,
    "HEAD": request(b"HEAD", b"/healthz"),
    "chunks": chunked(b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"),
    "chunks, extensions": chunked((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 600 + b"0\r\n\r\n"),
    "chunk without end": chunked(b"f" * 1000 + b"\r\n" + b"x" * 100_000),
    "trailers": chunked(b"0\r\n" + b"a\r\n" * 21_000 + b"\r\n"),
    "length of 15,000 digits": request(b"POST", SESSION, b"Content-Length: " + b"9" * 15_000),
    "length of 4,000 digits": request(b"POST", SESSION, b"Content-Length: " + b"9" * 4000),
    "length, not ASCII": request(b"POST", SESSION, "Content-Length: \u0661".encode()),
    "expectation": request(b"POST", SESSION, b"Expect: 100-continue", b"Content-Length: 60000"),
    "asterisk": request(b"OPTIONS", b"*"),
    "method": request(b"FOO!", b"/"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "WebSocket": got(b"Upgrade: websocket", b"Connection: Upgrade", path=b"/api/v1/events"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    "NULs": b"\0" * 60_000,
    "address, not UTF-8": got(path=b"/api/v1/devices/%ff%00\xa0"),
    "wrong token": got(b"Authorization: Bearer " + b"x" * 15_000, path=b"/api/v1/status"),
    "wrong sign-in": typed(b"application/json", b'{"token":"x"}'),
    "origin": got(b"Origin: " + b"://" * 5000, path=b"/api/v1/status"),
}
"""Requests that are each costly, odd, or both, one of them on a connection."""

FLOODS: Mapping[str, bytes] = {
    "pipelined": got() * 1000,
    "pipelined, large answers": got(path=b"/api/v1/openapi.json") * 1000,
    "pipelined HEAD": request(b"HEAD", b"/healthz") * 1000,
}
"""The same on one connection, on and on."""
