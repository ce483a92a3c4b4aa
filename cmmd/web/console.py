"""The console's files: one page that names all others by what is in them, so that a browser asks for each once."""

import gzip
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from html import escape
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET

from cmmd.web.http.problems import Refused, refuse
from cmmd.web.http.site import Empty, only_reading
from cmmd.web.http.streaming_body import Gone, StreamingBody

__all__ = ["BadTiles", "Console", "Tiles"]

log = Logger()

PAGE = "index.html"
CHARTS = "plotly.min.js"

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml; charset=utf-8",
}
"""Files of other kinds are not served."""

FOR_EVER = b"public, max-age=31536000, immutable"
"""What is at an address that names its content never changes there."""

A_PIECE_BYTES = 64 * 1024
"""That are written at once, and no more until they are taken: a slow reader costs little memory."""

LONGEST_S = 300.0
"""Seconds that a client can take to read a file."""

_NOT_IN_A_POLICY = re.compile(r"[\s;,'\"\\<>]")


class BadTiles(ValueError):
    """An address for map tiles that cannot be."""


class Tiles(Struct, frozen=True):
    """The source of map tiles.

    :ivar url: with {z}, {x} and {y}; empty: the map is drawn without any.
    :ivar credit: whom the tiles' licence wants named on the map.
    """

    url: str = ""
    credit: str = ""

    def source(self) -> str:
        """For the Content-Security-Policy: their host; empty: none, or our own.

        :raises BadTiles: no map tiles can have this address.
        """
        if not self.url:
            return ""
        if _NOT_IN_A_POLICY.search(self.url) or not all(place in self.url for place in ("{z}", "{x}", "{y}")):
            raise BadTiles(
                "an address with {z}, {x} and {y} is expected, such as https://tiles.example/{z}/{x}/{y}.png"
            )
        if self.url.startswith("/") and not self.url.startswith("//"):
            return ""
        parts = urlsplit(self.url)
        try:
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        except ValueError:
            usable = False
        if not usable or set("{}@") & set(parts.netloc):
            raise BadTiles("http, https, or an address that begins with / is expected")
        return f"{parts.scheme}://{parts.netloc}"


class File:
    """A file as it is served.

    :param digest: names its content. :param read: gives it.
    """

    def __init__(self, name: str, digest: str, read: Callable[[], bytes]) -> None:
        self.type = TYPES[Path(name).suffix]
        self.digest = digest
        self._read = read
        self._packed: bytes | None = None
        self._packing = DeferredLock()

    async def body(self, *, packed: bool) -> bytes:
        """The content, plain or with gzip: compressed once, in a thread, since a large one takes 0.25 s."""
        if not packed:
            return self._read()
        if self._packed is None:
            async with self._packing:
                if self._packed is None:
                    self._packed = await deferToThread(self._pack)
        return self._packed

    def _pack(self) -> bytes:
        return gzip.compress(self._read(), 6, mtime=0)


class Console(Empty):
    """``/``, and what its page needs below ``/static``. Everything is read once.

    :param tiles: for the map. :param clock: for readers that stall.
    :raises BadTiles: no map tiles can have this address.
    """

    def __init__(self, tiles: Tiles, clock: IReactorTime) -> None:
        super().__init__()
        found = dict(_contents(files("cmmd.web") / "static"))
        template = found.pop(PAGE).decode()
        digest = _digest(b"".join(_digest(content).encode() for content in found.values()))
        charts = f"plotly-{version('plotly')}"
        static = Empty()
        self.putChild(b"static", static)
        static.putChild(digest.encode(), Folder({name: _kept(name, found[name]) for name in found}, clock))
        static.putChild(charts.encode(), Folder({CHARTS: File(CHARTS, charts, _charts)}, clock))
        base = f"/static/{digest}/"
        page = _filled(
            template,
            static=base,
            charts=f"/static/{charts}/{CHARTS}",
            tiles=tiles.url,
            tiles_credit=tiles.credit,
        )
        page = page.replace("{{styles}}", _links("stylesheet", base, found, "style/"))
        page = page.replace("{{modules}}", _links("modulepreload", base, found, "js/"))
        self._page = _kept(PAGE, page.encode())
        self._policy = _policy(tiles.source())
        self._clock = clock
        self.putChild(b"", self)

    def render(self, request: Any) -> int:
        """The page. It names its files by their content, so it is requested each time."""
        if only_reading(request):
            request.setHeader("Content-Security-Policy", self._policy)
            request.setHeader("Cache-Control", "no-cache")
            _give(request, self._page, self._clock)
        return NOT_DONE_YET


class Folder(Empty):
    """Files at addresses that name their content.

    :param found: by their names, with ``/`` between folders.
    """

    isLeaf = True

    def __init__(self, found: Mapping[str, File], clock: IReactorTime) -> None:
        super().__init__()
        self._found = found
        self._clock = clock

    def render(self, request: Any) -> int:
        """Answer with one of the files."""
        if not only_reading(request):
            return NOT_DONE_YET
        file = self._found.get(b"/".join(request.postpath).decode("utf-8", "replace"))
        if file is None:
            refuse(request, Refused("not_found", "there is nothing at this address"))
        else:
            request.setHeader("Cache-Control", FOR_EVER)
            _give(request, file, self._clock)
        return NOT_DONE_YET


def _contents(folder: Traversable, before: str = "") -> Iterator[tuple[str, bytes]]:
    """All files that are served, by their names, with ``/`` between folders."""
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            yield from _contents(one, f"{before}{one.name}/")
        elif Path(one.name).suffix in TYPES:
            yield before + one.name, one.read_bytes()


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=9).hexdigest()


def _kept(name: str, content: bytes) -> File:
    return File(name, _digest(content), lambda: content)


@cache
def _charts() -> bytes:
    """The library that draws charts, out of its Python package; that itself is not imported, which takes long."""
    spec = find_spec("plotly")
    assert spec is not None and spec.submodule_search_locations, "it is a dependency"
    return (Path(spec.submodule_search_locations[0]) / "package_data" / CHARTS).read_bytes()


def _filled(template: str, **values: str) -> str:
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", escape(value))
    return template


def _links(relation: str, base: str, found: Iterable[str], folder: str) -> str:
    return "\n".join(f'<link rel="{relation}" href="{base}{name}">' for name in found if name.startswith(folder))


def _policy(tiles: str) -> bytes:
    """Nothing from other hosts but tiles, and no script or style within a page."""
    images = " ".join(("'self'", "data:", "blob:", *([tiles] if tiles else [])))
    rules = [f"{kind}-src 'self'" for kind in ("script", "style", "connect", "font", "manifest")]
    rules += [
        "default-src 'none'",
        f"img-src {images}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return "; ".join(sorted(rules)).encode()


def _give(request: Any, file: File, clock: IReactorTime) -> None:
    giving = Deferred.fromCoroutine(_given(request, file, clock))
    giving.addErrback(lambda failure: log.failure("web: while giving a file", failure=failure))


async def _given(request: Any, file: File, clock: IReactorTime) -> None:
    request.setHeader("Content-Type", file.type)
    request.setHeader("Vary", "Accept-Encoding")
    packed = _takes_gzip(request.getHeader("accept-encoding") or "")
    if request.setETag(f'"{file.digest}{"-gzip" if packed else ""}"'.encode()) is not None:
        request.finish()
        return
    ended: list[object] = []
    request.notifyFinish().addBoth(ended.append)
    content = await file.body(packed=packed)
    if ended:
        return
    if packed:
        request.setHeader("Content-Encoding", "gzip")
    request.setHeader("Content-Length", str(len(content)))
    if request.method == b"HEAD":
        request.write(b"")
        request.finish()
        return
    outlet = StreamingBody(request, clock, longest_s=LONGEST_S)
    try:
        for start in range(0, len(content), A_PIECE_BYTES):
            await outlet.write(content[start : start + A_PIECE_BYTES])
    except Gone:
        return
    outlet.finish()


def _takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding names gzip, other than with a weight of 0."""
    for one in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q=0(\.0*)?", part) for part in parameters)
    return False
