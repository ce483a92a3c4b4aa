"""The answer to a login: where to upload, what to poll, how often (protocol section 4.1)."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Struct

from cmmd.fleet.counters.counters import Counters
from cmmd.fleet.devices.registry import LoginImpossible, LoginRefused, Registry
from cmmd.fleet.events import Events, Kind
from cmmd.store.records import Device
from cmmd.wire.messages import LoginAnswer, LoginParams, LoginResult
from cmmd.wire.retcodes import Retcode

__all__ = ["Advertised", "LoginHandler", "UploadTerms"]


class UploadTerms(Struct, frozen=True, kw_only=True):
    """Upload rates for devices in milliseconds; ``data_mode`` 0: changes only, 1: everything.

    ``reset_packet_num``: after that many change packets a device starts over with a full set; 0: it is not told.
    """

    data_mode: int = 1
    online_rate: int = 3000
    offline_rate: int = 3000
    reset_packet_num: int = 0


class Advertised:
    """The addresses that devices are sent to.

    :param live: ``host:port``, or empty: the address that the device reached, and the port that it reached if that is
        one of ``live_ports``: who came by TLS stays with TLS. Else the first of them.
    :param historic: the same for history uploads.
    :ivar live_ports: TCP ports of the live listeners; none: the port that the device reached.
    :ivar historic_ports: TCP ports of the historic listeners.
    """

    def __init__(self, live: str = "", historic: str = "") -> None:
        self._live = live
        self._historic = historic
        self.live_ports: Sequence[int] = ()
        self.historic_ports: Sequence[int] = ()

    def live(self, host: str, port: int) -> str:
        """Choose the address of live uploads for a device that reached the server on this host and port."""
        return self._live or f"{host}:{_port(port, self.live_ports)}"

    def historic(self, host: str, port: int) -> str:
        """Choose the address of history uploads for a device that reached the server on this host and port."""
        return self._historic or f"{host}:{_port(port, self.historic_ports)}"


class LoginHandler:
    """Answers the logins of devices.

    :param registry: decides.
    :param logged_in: notified of every device that has logged in.
    :param may_set_port: whether nothing speaks against setting the port of a device, given its hostid.
    :param events: notified of refused logins.
    :param terms: what every device is told.
    :param advertised: where devices are sent.
    :param now: Unix time in seconds.
    :param counters: counts refusals by reason.
    """

    def __init__(
        self,
        registry: Registry,
        logged_in: Callable[[Device], None],
        may_set_port: Callable[[str], bool],
        events: Events,
        terms: UploadTerms,
        advertised: Advertised,
        now: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._registry = registry
        self._logged_in = logged_in
        self._may_set_port = may_set_port
        self._events = events
        self._terms = terms
        self._advertised = advertised
        self._now = now
        self._counters = counters

    async def answer(
        self, params: LoginParams, peer: str, reached: tuple[str, int], wanted: Callable[[], bool]
    ) -> LoginAnswer:
        """Decide a login and build its answer.

        :param params: what the device said.
        :param peer: its host.
        :param reached: our host and port that it connected to.
        :param wanted: whether the device still waits.
        :return: the answer, accepting or refusing.
        """
        try:
            device = await self._registry.login(params, peer, wanted)
        except LoginRefused as error:
            self._counters.peer_errors[error.reason] += 1
            return self._refused(params.hostid, peer, error.retcode, str(error))
        except LoginImpossible as error:
            return self._refused(params.hostid, peer, Retcode.TRY_AGAIN, str(error))
        # Asked first: a login ends the doubt about two addresses, and what was set in doubt waits for the next login.
        may_set_port = self._may_set_port(device.hostid)
        self._logged_in(device)
        return self._acceptance(device, *reached, may_set_port=may_set_port)

    def _refused(self, hostid: str, peer: str, retcode: Retcode, reason: str) -> LoginAnswer:
        self._events.emit(Kind.LOGIN_REFUSED, hostid, about=peer, address=peer, retcode=retcode.value, reason=reason)
        return self.refusal(retcode)

    def _acceptance(self, device: Device, host: str, port: int, *, may_set_port: bool) -> LoginAnswer:
        terms = self._terms
        # Never left out where the device has said it: a module may take a field that is missing for a default.
        set_port, set_baud = (device.set_port, device.set_baud) if may_set_port else (None, None)
        return LoginAnswer(
            result=LoginResult(
                register=1,
                historic=self._advertised.historic(host, port),
                liveData=self._advertised.live(host, port),
                realTime=str(int(self._now())),
                para_command=device.para_command,
                con_command=device.para_command,
                online_rate=_first(device.online_rate, terms.online_rate),
                offline_rate=_first(device.offline_rate, terms.offline_rate),
                moduletype=device.moduletype,
                data_mode=_first(device.data_mode, terms.data_mode),
                modulePort=_first(set_port, device.module_port, UNSET),
                moduleBaud=_first(set_baud, device.module_baud, UNSET),
                reset_packet_num=terms.reset_packet_num or UNSET,
            )
        )

    def refusal(self, retcode: Retcode, message: str = "") -> LoginAnswer:
        """The answer to a login that is not taken: the same shape, its addresses, commands and model empty.

        :param message: which field was wrong, where one was.
        """
        result = LoginResult(
            register=0,
            historic="",
            liveData="",
            realTime=str(int(self._now())),
            para_command="",
            con_command="",
            online_rate=self._terms.online_rate,
            offline_rate=self._terms.offline_rate,
            moduletype="",
            data_mode=self._terms.data_mode,
        )
        return LoginAnswer(result=result, message=message or UNSET, retcode=retcode.value)


def _port(reached: int, ports: Sequence[int]) -> int:
    return reached if reached in ports or not ports else ports[0]


def _first(*values: Any) -> Any:
    """The first of these that is said."""
    return next(value for value in values if value is not None)
