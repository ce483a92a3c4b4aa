"""``twistd -n cmm-sim``: a fleet of simulated CMM modules, for trying a server out."""

from twisted.logger import Logger
from twisted.python import usage

from cmmd.gateway.link.address import Address, parse_address, tcp_endpoints
from cmmd.gateway.link.changes import ByteOrder
from cmmd.process import (
    CommandLine,
    end_orderly_on_signals,
    prepare_foreground,
    raise_file_limit,
    steady_timers,
)
from cmmd.simulator.fault_profiles import MANNERS, Turn, parse_turns
from cmmd.simulator.fleet import Fleet
from cmmd.wire.quoting import quoted

__all__ = ["Options", "makeService"]

MAX_DEVICES = 50_000
MAX_MODEL = 30  # characters: moduletype (section 4.1)
_FILES_BESIDES_DEVICES = 64

_MISBEHAVIOUR = """
Each order (command, port change, reset) is answered in the next KIND of --misbehave, after the last in the first again:
with silent,none every other order stays unanswered. A reset has no uid and no frame that could be wrong.
"""

_log = Logger()


class Options(CommandLine):
    """The command line. Wrong values end the process with status 1 and one line on stderr that names the option.

    :ivar server: where the devices log in.
    :ivar devices: how many.
    :ivar seed: decides who they are.
    :ivar data_mode: 0 or 1 overrides what the server orders; None: as it orders.
    :ivar byte_order: of registers in change uploads.
    :ivar misbehave: how the devices answer orders, in turn; empty: as they should.
    :ivar calm: nothing fails by itself.
    """

    command = "cmm-sim"
    synopsis = "--server HOST:PORT [options]"
    optParameters = [  # noqa: RUF012 - Twisted's way
        ["server", None, None, "HOST:PORT of the server that the devices log in at (required)"],
        ["devices", None, "1", "number of devices"],
        ["model", None, "HGM6120N", "controller model; one that cmmd does not know shows what an HGM6120N shows"],
        ["seed", None, "1", "a number: the same one gives the same devices"],
        ["data-mode", None, None, "0 upload changes, 1 upload everything (default: as the server says)"],
        ["byte-order", None, "big", "of registers in change uploads: big or little"],
        ["misbehave", None, None, "how all devices answer orders: KIND, or KIND,KIND,... in turn (see below)"],
    ]
    optFlags = [  # noqa: RUF012
        ["calm", None, "mains and engines never fail by themselves; all gensets stand by at first"],
    ]
    compData = usage.Completions(
        optActions={
            "server": usage.CompleteHostnames(),
            "devices": usage.Completer(),
            "model": usage.Completer(),
            "seed": usage.Completer(),
            "data-mode": usage.CompleteList(["0", "1"]),
            "byte-order": usage.CompleteList(["big", "little"]),
            "misbehave": usage.CompleteMultiList(list(MANNERS)),
        }
    )
    longdesc = (
        "A genset has about one fault in two hours, the first one within half an hour; it is repaired and reset"
        " the controller after some minutes. With --calm it has none, and its mains do not fail either."
    )

    server: Address
    devices: int
    seed: int
    model: str
    data_mode: int | None
    byte_order: ByteOrder
    misbehave: tuple[Turn, ...]
    calm: bool

    def getUsage(self, width: int | None = None) -> str:
        """The help text, with the kinds of misbehaviour below."""
        kinds = "".join(f"      {name:<12}  {manner.title}\n" for name, manner in MANNERS.items())
        return f"{super().getUsage(width)}{_MISBEHAVIOUR}{kinds}"

    def postOptions(self) -> None:
        """Check the values of the options."""
        if self["server"] is None:
            raise usage.UsageError("--server HOST:PORT is required")
        try:
            self.server = parse_address(self["server"])
        except ValueError as error:
            raise usage.UsageError(f"--server {quoted(self['server'])}: {error}") from None
        self.devices = self._number("devices", 1, MAX_DEVICES)
        self.seed = self._number("seed", 0, 2**63 - 1)
        self.data_mode = None if self["data-mode"] is None else self._number("data-mode", 0, 1)
        if self["byte-order"] not in ("big", "little"):
            raise usage.UsageError(f"--byte-order {quoted(self['byte-order'])}: neither big nor little")
        self.byte_order = self["byte-order"]
        self.calm = bool(self["calm"])
        self.model = self["model"]
        if not (self.model.isprintable() and 1 <= len(self.model) <= MAX_MODEL):
            raise usage.UsageError(f"--model {quoted(self.model)}: not 1 to {MAX_MODEL} printable characters")
        try:
            self.misbehave = () if self["misbehave"] is None else parse_turns(self["misbehave"])
        except ValueError as error:
            raise usage.UsageError(f"--misbehave {error}") from None
        prepare_foreground(self.parent)

    def _number(self, option: str, least: int, most: int) -> int:
        text = self[option]
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
            raise usage.UsageError(f"--{option} {quoted(text)}: not a number from {least} to {most}")
        return int(text)


def makeService(options: Options) -> Fleet:
    """Build the fleet that the options describe."""
    from twisted.internet import reactor

    steady_timers(reactor)
    wanted = options.devices + _FILES_BESIDES_DEVICES
    limit = raise_file_limit(wanted)
    if limit < wanted:
        _log.warn("only {limit} files may be open, {wanted} are wanted", limit=limit, wanted=wanted)
    end_orderly_on_signals(reactor)
    return Fleet(
        options.server,
        devices=options.devices,
        seed=options.seed,
        model=options.model,
        data_mode=options.data_mode,
        clock=reactor,
        endpoints=tcp_endpoints(reactor),
        misbehave=options.misbehave,
        calm=options.calm,
        byte_order=options.byte_order,
    )
