"""A server of map tiles, as somebody else runs one; it remembers who asked for what."""

import struct
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

__all__ = ["TILE_PX", "TileServer"]

TILE_PX = 256


def _png() -> bytes:
    """A green tile."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", TILE_PX, TILE_PX, 8, 2, 0, 0, 0)  # 8 bits each of red, green, blue
    rows = (b"\0" + b"\x70\xb0\x70" * TILE_PX) * TILE_PX
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class TileServer:
    """It runs, under another name of this machine than the daemon: a browser takes them for strangers.

    :ivar url: the address of its root, without a slash at the end. :ivar asked: paths. :ivar told: of each request
        ``Referer`` and ``Cookie``.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: set[tuple[str | None, str | None]] = set()
        tiles, png = self, _png()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tiles.asked.append(self.path)
                tiles.told.add((self.headers["Referer"], self.headers["Cookie"]))
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(png)))
                self.end_headers()
                self.wfile.write(png)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
