"""An address with nothing at it."""

from typing import Any

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from cmmd.web.http.problems import Refused, refuse

__all__ = ["Empty", "only_reading"]


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
