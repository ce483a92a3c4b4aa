"""An address with nothing at it."""

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from cmmd.fleet.fleet import Fleet
from cmmd.fleet.roles import Role
from cmmd.web.http.access import Access, WrongToken
from cmmd.web.http.problems import Refused, refuse

__all__ = ["Empty", "Guarded", "only_reading", "site"]


class Empty(Resource):
    """An address with nothing at it, or below it but what was put there."""

    def getChild(self, path: bytes, request: Any) -> IResource:
        """Find nothing below this place."""
        del path, request
        return Empty()

    def render(self, request: Any) -> int:
        """Answer that there is nothing here."""
        refuse(request, Refused("not_found", "there is nothing at this address"))
        return NOT_DONE_YET


def only_reading(request: Any) -> bool:
    """Refuse a request that does not only read."""
    if request.method in (b"GET", b"HEAD"):
        return True
    refuse(request, Refused("method_not_allowed", "GET or HEAD", Allow="GET, HEAD"))
    return False


log = Logger()


def site(
    root: IResource,
    *,
    api: IResource,
    access: Access,
    fleet: Fleet,
    metrics: IResource | None = None,
    device_metrics: IResource | None = None,
) -> IResource:
    """The root of all addresses.

    :param root: the console. :param api: at ``/api/v1``. :param fleet: for ``/healthz``.
    :param metrics: at ``/metrics``, and :param device_metrics: at ``/metrics/devices``; None: not there.
    """
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


class Guarded(Resource):
    """A resource that is read by those who may.

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
            caller = self._access.caller(request, "metrics")
            self._access.check_role(caller, self._role)
            request.channel.known_as(caller.name, admin=caller.role == "admin")
        except WrongToken as error:
            Deferred.fromCoroutine(self._access.refuse_late(request, error)).addErrback(
                lambda failure: log.failure("web: while refusing", failure=failure)
            )
            return NOT_DONE_YET
        except Refused as error:
            refuse(request, error)
            return NOT_DONE_YET
        return self._inner.render(request) if only_reading(request) else NOT_DONE_YET


class HealthNow(msgspec.Struct, frozen=True):
    """The health of the daemon, which serves where this arrives at all, and of its store.

    :ivar store: ``up`` or ``down``; meanwhile uploads wait in the spool. :ivar backlog: rows that wait for it.
    """

    status: str
    store: str
    backlog: int


class Health(Empty):
    """``/healthz``: for load balancers and systemd, wherever they are, tokens or none. The daemon is well while its
    store is unavailable.
    """

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet

    def render(self, request: Any) -> Any:
        """Say how it is."""
        if not only_reading(request):
            return NOT_DONE_YET
        health = self._fleet.store_health()
        request.setHeader("Content-Type", "application/json")
        return msgspec.json.encode(HealthNow("ok", "up" if health.up else "down", health.backlog))
