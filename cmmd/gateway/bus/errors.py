"""How an exchange with a controller ends that does not end well: the kinds are those of a command's outcome."""

from cmmd.modbus.frames import ExceptionResponse

__all__ = ["BusError", "ExceptionAnswer", "NoAnswer", "NotSent", "PortError"]


class BusError(Exception):
    """An exchange did not end with the answer that was hoped for. The text is fit for a log."""


class NotSent(BusError):
    """Nothing left for the controller: what was asked is surely not done."""


class NoAnswer(BusError):
    """The request left, or may have, and no valid answer says what became of it: nobody knows."""


class ExceptionAnswer(BusError):
    """The controller said no.

    :ivar code: the exception's code, 0..255.
    """

    def __init__(self, response: ExceptionResponse) -> None:
        super().__init__(f"exception {response.code}: {response.name}")
        self.code = response.code


class PortError(Exception):
    """A port cannot be opened, or was lost. The text is fit for a log."""
