"""The seam between the protocol's device side and the source that feeds it.

A simulated genset is a source; a serial bus with a real controller is another.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from cmmd.wire.messages import ChangeParams, LoginParams

__all__ = ["NO_INPUTS", "InputStates", "OutcomeUnknown", "Precondition", "Source", "unopposed"]

Precondition = Callable[[], str | None]
"""Why something must not be done; None: nothing speaks against it. Asked directly before it is."""


def unopposed() -> None:
    """Nothing speaks against it."""


class OutcomeUnknown(Exception):
    """A write was sent to the controller, and it is unknown whether it was done. The text is fit for a log."""


class InputStates(NamedTuple):
    """The device's own four inputs (section 4.5), in the order of the message.

    Each is 1 active, 0 not, None not known: there is no such input.
    """

    access_alarm: int | None = None
    fire_alarm: int | None = None
    alarm_input: int | None = None
    inhibit_remote: int | None = None


NO_INPUTS = InputStates()
"""Nothing is known of any."""


class Source(Protocol):
    """Feeds one :class:`cmmd.gateway.link.link.Link` and takes its orders. All frames are Modbus RTU in hex with CRC.

    What is awaited may be cancelled at any time: a session has ended. Of a write that has not been begun nothing is
    done then. Only a stop is carried on when its session ends.
    """

    def identity(self) -> LoginParams:
        """The identity and wiring for a login, read before every one; ``hostid`` never changes (section 4.1)."""

    def follow(self, plan: str, data_mode: int) -> None:
        """Take what a login answer ordered (section 4.1).

        :param plan: ``para_command``: read requests separated by ``;``. Response *n* of a full upload answers *n*.
        :param data_mode: 0 the link will ask for changes, 1 for everything.
        :raises ValueError: the plan makes no sense; the text says why, and the source follows what it followed before.
            The link backs off and logs in again.
        """

    def full_upload(self) -> Awaitable[str]:
        """``params`` of reqdata: the response frames of the plan, ``;`` between them; empty: nothing (section 4.4)."""

    def change_upload(self) -> Awaitable[ChangeParams | str | None]:
        """``params`` of reqdatachange: what changed since the last upload of either kind (section 4.5).

        Or ``params`` of reqdata, where changes cannot say it: the controller is silent, or was until now; or some of
        what was uploaded cannot be read any more.

        The link numbers the packets. What of the last full upload was missing has changed when it is there.

        :return: None when nothing did.
        """

    def reading(self) -> str:
        """The last reading as ``params`` of a full upload; empty: nothing was read.

        Asking for it uploads nothing: it is for whom changes do not say enough.
        """

    def inputs(self) -> InputStates:
        """The device's own inputs as they are now (section 4.5)."""

    def write(self, frame: str, veto: Precondition = unopposed) -> Awaitable[bool]:
        """Carry one Modbus write out (section 4.6).

        :param frame: the request as the server sent it: nothing about it is checked yet.
        :param veto: asked directly before it leaves, for it may have waited; then it is not done.
        :return: whether the controller did it; False: it surely did not.
        :raises OutcomeUnknown: the outcome is unknown. After any other exception, too, the server gets no answer.
        """

    def is_stop(self, frame: str) -> bool:
        """Say whether a frame is the controller's stop command, which nothing holds back.

        :return: False also where it is not known what the stop command is.
        """

    def stop(self, frame: str, waits_s: float) -> Awaitable[bool]:
        """Carry a stop command out, whatever speaks against other writes: before all of them, despite an inhibit.

        :param frame: as the server sent it; one that :meth:`is_stop` does not know is not done.
        :param waits_s: seconds it can wait for what the bus still expects, beside a request under way.
        :return: as with :meth:`write`. :raises OutcomeUnknown: the same.
        """

    def set_port(
        self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed
    ) -> Awaitable[bool]:
        """Change the wiring to the controller (section 4.6), in the codes of 4.1; None: as it is.

        :param veto: asked directly before it is begun.
        :return: whether it was done.
        """
