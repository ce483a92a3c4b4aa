"""The messages of the CMM protocol, both directions: one struct per table of protocol section 4.

Attribute names are the keys on the wire, their order is the order of the paper's examples. ``cmmd.wire.reading`` turns
documents into these.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from cmmd.wire.retcodes import Retcode

__all__ = [
    "ANSWER_HB",
    "ANSWER_LONGCON",
    "ANSWER_REQDATA",
    "RESET",
    "Answer",
    "ChangeParams",
    "DeviceMessage",
    "Heartbeat",
    "Login",
    "LoginAnswer",
    "LoginParams",
    "LoginResult",
    "LongCon",
    "ReqData",
    "ReqDataChange",
    "Reset",
    "ResetAnswer",
    "ServerMessage",
    "Timing",
    "TimingAnswer",
    "WriteConfig",
    "WriteConfigAnswer",
    "encode",
]

# Lengths count characters (protocol section 4.1).
HostId = Annotated[str, Meta(min_length=1, max_length=24)]
NewHostId = Annotated[str, Meta(min_length=1, max_length=24, pattern=r"\A[A-Za-z0-9_-]+\Z")]
Text20 = Annotated[str, Meta(max_length=20)]
Text30 = Annotated[str, Meta(max_length=30)]
Digit = Annotated[int, Meta(ge=0, le=9)]
Port = Annotated[int, Meta(ge=0, le=99)]
Baud = Annotated[int, Meta(ge=0, le=9_999_999)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Flag = Annotated[int, Meta(ge=0, le=1)]
Scalar = str | int | float | None
Changes = list[dict[str, str]]


class FromDevice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="method"):
    """A message from a device: ``method`` is the struct's tag and comes first. None: the device does not say."""


class FromServer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message from the server. Fields that are UNSET are left out."""


# --- device to server ------------------------------------------------------------------------------------------------


class LoginParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The parameters of a login (protocol section 4.1).

    ``modulePort``: 0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB. ``moduleBaud``: 0 9600, 1 19200, 2 115200 bit/s.
    ``gpsen``: 0 BD-09 coordinates, 1 WGS-84.
    """

    hostid: NewHostId
    hostname: Text20
    password: Text20
    longitude: Text20 | None = None
    latitude: Text20 | None = None
    altitude: Text20 | None = None
    gpsen: Digit | None = None
    moduletype: Text30
    modulePort: Port | None = None
    moduleBaud: Baud | None = None


class Login(FromDevice, frozen=True, kw_only=True, tag="login"):
    """Registration on a short connection (4.1)."""

    params: LoginParams


class LongCon(FromDevice, frozen=True, kw_only=True, tag="LongCon"):
    """Attaches the connection to a device (4.2)."""

    hostid: HostId


class Heartbeat(FromDevice, frozen=True, kw_only=True, tag="HB"):
    """Heartbeat (4.3); ``params`` is empty."""

    hostid: HostId
    params: Any = None


class ReqData(FromDevice, frozen=True, kw_only=True, tag="reqdata"):
    """Full upload (4.4). ``params``: Modbus RTU response frames in hex, separated by ``;``.

    ``itime`` is ours: when it was, in milliseconds UTC, where it is about the past.
    """

    params: str | None = None
    hostid: HostId
    itime: Count | None = None


class ChangeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``reqdatachange.params`` (4.5): by Modbus function, lists of objects {start address in hex: value in hex}.

    Where the device is comes as text or number of any length: a place that is none must not cost the values beside it.
    """

    packetnum: Count | None = None
    longitude: Scalar = None
    latitude: Scalar = None
    altitude: Scalar = None
    f01: Changes = field(name="01", default_factory=list)
    f02: Changes = field(name="02", default_factory=list)
    f03: Changes = field(name="03", default_factory=list)
    f04: Changes = field(name="04", default_factory=list)


class ReqDataChange(FromDevice, frozen=True, kw_only=True, tag="reqdatachange"):
    """Change upload (4.5) with the device's own inputs, 0 or 1: door, fire, general alarm, remote control inhibited.

    ``itime`` as in :class:`ReqData`.
    """

    params: ChangeParams
    hostid: HostId
    AccessAlarm: Flag | None = None
    FireAlarm: Flag | None = None
    AlarmInput: Flag | None = None
    InhbitRemote: Flag | None = None
    itime: Count | None = None

    @property
    def reports_inputs(self) -> bool:
        """Tell whether it says anything of the device's own inputs."""
        return not (self.AccessAlarm is self.FireAlarm is self.AlarmInput is self.InhbitRemote is None)


class WriteConfigAnswer(FromDevice, frozen=True, kw_only=True, tag="writeConfig"):
    """Answer to ``writeConfig`` (4.6): ``params`` is ``<frame>,1`` or ``<frame>,0``; or else port and baud."""

    params: str | None = None
    modulePort: Port | None = None
    moduleBaud: Baud | None = None
    hostid: HostId
    uid: Annotated[str, Meta(max_length=64)] | None = None


class Timing(FromDevice, frozen=True, kw_only=True, tag="timing"):
    """A request for the time (protocol section 4.7)."""

    hostid: HostId


class ResetAnswer(FromDevice, frozen=True, kw_only=True, tag="reset"):
    """Answer to ``reset`` (4.8)."""

    hostid: HostId


DeviceMessage = Login | LongCon | Heartbeat | ReqData | ReqDataChange | WriteConfigAnswer | Timing | ResetAnswer


# --- server to device ------------------------------------------------------------------------------------------------


class LoginResult(FromServer, frozen=True, kw_only=True):
    """``login.result`` (4.1). Addresses are ``host:port``; ``realTime`` is Unix time in seconds.

    The commands are Modbus RTU requests in hex, separated by ``;``; rates are in milliseconds; ``data_mode`` 0 is
    changes only, 1 everything. The defaults are for servers that leave fields out, as a refusal may (4.10); cmmd
    always sends them.
    """

    register: int
    historic: str = ""
    liveData: str = ""
    realTime: str = ""
    para_command: str = ""
    con_command: str = ""
    online_rate: int | float = 3000
    offline_rate: int | float = 3000
    moduletype: str | UnsetType = UNSET
    data_mode: int | UnsetType = UNSET
    modulePort: Port | UnsetType = UNSET
    moduleBaud: Baud | UnsetType = UNSET
    reset_packet_num: int | UnsetType = UNSET


class LoginAnswer(FromServer, frozen=True, kw_only=True):
    """Answer to ``login`` (4.1). A refusal has ``register`` 0 and a retcode; ``message`` names a wrong field."""

    method: Literal["login"] = "login"
    result: LoginResult
    message: str | UnsetType = UNSET
    retcode: str = Retcode.OK.value


class Answer(FromServer, frozen=True, kw_only=True):
    """The plain answer: ``LongCon``, ``HB``, ``reqdata`` (to both kinds of upload) and ``error``.

    With ``writeConfig`` or ``reset`` it acknowledges what the device has answered (4.10); it is never an order.
    """

    method: str
    message: str = "OK"
    retcode: str = Retcode.OK.value


class TimingAnswer(FromServer, frozen=True, kw_only=True):
    """Answer to ``timing`` (4.7): ``result`` is Unix time in milliseconds; empty where a server says none (4.10)."""

    message: str = "ok"
    retcode: str = Retcode.OK.value
    method: Literal["timing"] = "timing"
    result: str = ""


class WriteConfig(FromServer, frozen=True, kw_only=True):
    """A Modbus write (``result``: RTU requests in hex, separated by ``;``) or a port and baud change (4.6).

    ``datatype``: 0 string, 1 Modbus, 2 JSON. Servers in service leave it out, or ``uid`` (4.10); cmmd sends both.
    ``hostid`` and ``params`` are what a server may add of its own or of the device's answer; cmmd never sends them.
    """

    result: str | UnsetType = UNSET
    modulePort: Port | UnsetType = UNSET
    moduleBaud: Baud | UnsetType = UNSET
    datatype: int = 1
    uid: str | UnsetType = UNSET
    packetnum: int | UnsetType = UNSET
    message: str | UnsetType = UNSET
    retcode: str | UnsetType = UNSET
    hostid: str | UnsetType = UNSET
    params: str | UnsetType = UNSET
    method: Literal["writeConfig"] = "writeConfig"


class Reset(FromServer, frozen=True, kw_only=True):
    """Restart of the module (4.8)."""

    message: str = "ok"
    retcode: str = Retcode.OK.value
    method: Literal["reset"] = "reset"


ServerMessage = LoginAnswer | Answer | TimingAnswer | WriteConfig | Reset


def encode(message: DeviceMessage | ServerMessage) -> bytes:
    """Strict, compact JSON with the keys of the paper's examples in their order (protocol section 3).

    :return: one document, UTF-8, no newline.
    """
    return _encoder.encode(message)


_encoder = msgspec.json.Encoder()

ANSWER_LONGCON = encode(Answer(method="LongCon"))
ANSWER_HB = encode(Answer(method="HB"))
ANSWER_REQDATA = encode(Answer(method="reqdata"))
RESET = encode(Reset())
