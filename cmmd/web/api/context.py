"""The context that operations of the API work with."""

from collections.abc import Callable

from msgspec import Struct
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime

from cmmd.controllers.catalog import Catalog
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.sign_in_links import SignInLinks
from cmmd.web.api.event_broker import EventBroker
from cmmd.web.api.keys import Keys
from cmmd.web.api.operation import Encoded
from cmmd.web.http.access import Access
from cmmd.web.http.cooperative import CooperativeScheduler

__all__ = ["ApiContext"]


class ApiContext(Struct, frozen=True, kw_only=True):
    """The parts of the daemon that operations of the API work with.

    :ivar desk: the operations. :ivar access: tokens and roles. :ivar catalog: the controller profiles.
    :ivar clock: for what waits; :ivar now: Unix time in seconds.
    :ivar feed: what is new. :ivar keys: commands that were asked for with a key. :ivar pieces: for long work.
    :ivar scans: how many go through many readings at once.
    :ivar document: what the API is, in OpenAPI.
    :ivar links: those that sign a browser in once.
    """

    desk: ControlService
    access: Access
    catalog: Catalog
    clock: IReactorTime
    now: Callable[[], float]
    feed: EventBroker
    keys: Keys
    pieces: CooperativeScheduler
    scans: DeferredSemaphore
    document: Encoded
    links: SignInLinks
