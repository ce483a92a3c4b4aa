"""What is at which address."""

import mimetypes
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from cmmd.fleet.desk.tokens import Role
from cmmd.fleet.fleet import Fleet
from cmmd.web.access import Access, WrongToken
from cmmd.web.problems import Refused, refuse

__all__ = ["PAGE_POLICY", "Guarded", "site"]

log = Logger()

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect", "font", "manifest")),
        "img-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy of pages: nothing from other hosts, and no script in a page."""

INDEX = "index.html"


def site(
    *,
    api: IResource,
    access: Access,
    fleet: Fleet,
    metrics: IResource | None = None,
    device_metrics: IResource | None = None,
) -> IResource:
    """The root of all addresses.

    :param api: at ``/api/v1``. :param fleet: for ``/healthz``.
    :param metrics: at ``/metrics``, and :param device_metrics: at ``/metrics/devices``; None: not there.
    """
    root = Root(files("cmmd.web") / "static")
    versions = Empty()
    versions.putChild(b"v1", api)
    root.putChild(b"api", versions)
    root.putChild(b"healthz", Health(fleet))
    if metrics is not None:
        at_metrics = Guarded(metrics, access, "viewer")
        if device_metrics is not None:
            at_metrics.putChild(b"devices", Guarded(device_metrics, access, "viewer"))
        root.putChild(b"metrics", at_metrics)
    return root


class Empty(Resource):
    """An address with nothing at it, or below it but what was put there."""

    def getChild(self, path: bytes, request: Any) -> IResource:
        """Nothing."""
        del path, request
        return Empty()

    def render(self, request: Any) -> int:
        """Say so."""
        refuse(request, Refused("not_found", "there is nothing at this address"))
        return NOT_DONE_YET


class Guarded(Resource):
    """A resource for those who may.

    :param inner: it. :param role: who may.
    """

    def __init__(self, inner: IResource, access: Access, role: Role) -> None:
        super().__init__()
        self._inner = inner
        self._access = access
        self._role = role

    def getChild(self, path: bytes, request: Any) -> IResource:
        """Nothing but what was put there."""
        del path, request
        return Empty()

    def render(self, request: Any) -> Any:
        """Look who it is."""
        try:
            caller = self._access.caller(request)
            self._access.check_role(caller, self._role)
        except WrongToken as error:
            Deferred.fromCoroutine(self._refuse_late(request, error)).addErrback(
                lambda failure: log.failure("web: while refusing", failure=failure)
            )
            return NOT_DONE_YET
        except Refused as error:
            refuse(request, error)
            return NOT_DONE_YET
        return self._inner.render(request)

    async def _refuse_late(self, request: Any, error: Refused) -> None:
        ended: list[object] = []
        request.notifyFinish().addBoth(ended.append)
        try:
            await self._access.delay(request)
        except Refused as later:
            error = later
        if not ended:
            refuse(request, error)


class HealthNow(msgspec.Struct, frozen=True):
    """Whether the daemon serves, which it does where this comes at all; and how its store is.

    :ivar store: ``up`` or ``down``; meanwhile uploads wait in the spool. :ivar backlog: rows that wait for it.
    """

    status: str
    store: str
    backlog: int


class Health(Empty):
    """``/healthz``: for load balancers and systemd. The daemon is well while its store is away."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet

    def render(self, request: Any) -> Any:
        """Say how it is."""
        if request.method not in (b"GET", b"HEAD"):
            refuse(request, Refused("method_not_allowed", "GET or HEAD", Allow="GET, HEAD"))
            return NOT_DONE_YET
        health = self._fleet.store_health()
        request.setHeader("Content-Type", "application/json")
        return msgspec.json.encode(HealthNow("ok", "up" if health.up else "down", health.backlog))


class Root(Empty):
    """``/`` and the files of the console, which are all read at the start.

    :param folder: where they are.
    """

    def __init__(self, folder: Traversable) -> None:
        super().__init__()
        self._add(folder)

    def _add(self, folder: Traversable) -> None:
        for one in folder.iterdir():
            if one.is_file():
                page = Page(one.name, one.read_bytes())
                self.putChild(one.name.encode(), page)
                if one.name == INDEX:
                    self.putChild(b"", page)


class Page(Empty):
    """A file of the console."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__()
        kind, _ = mimetypes.guess_type(name)
        self._type = kind or "application/octet-stream"
        if self._type.startswith("text/") or self._type == "application/javascript":
            self._type += "; charset=utf-8"
        self._content = content
        self._etag = blake2b(content, digest_size=12).hexdigest().encode()

    def render(self, request: Any) -> Any:
        """Give it."""
        if request.method not in (b"GET", b"HEAD"):
            refuse(request, Refused("method_not_allowed", "GET or HEAD", Allow="GET, HEAD"))
            return NOT_DONE_YET
        request.setHeader("Content-Security-Policy", PAGE_POLICY)
        request.setHeader("Cache-Control", "no-cache")
        request.setHeader("Content-Type", self._type)
        if request.setETag(self._etag) is not None:
            return b""
        return self._content
