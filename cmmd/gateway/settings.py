"""The gateway's configuration: typed, with every default. etc/gateway.toml says what each option is for."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

__all__ = [
    "Buffer",
    "Controller",
    "Controllers",
    "Device",
    "Direction",
    "Input",
    "Inputs",
    "Orders",
    "Serial",
    "Server",
    "Settings",
    "Status",
]

Text20 = Annotated[str, Meta(max_length=20)]
Text30 = Annotated[str, Meta(min_length=1, max_length=30)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Device(Section, frozen=True, kw_only=True):
    """``[device]``: who the gateway says it is (section 4.1)."""

    hostid: Annotated[str, Meta(max_length=24)] = ""
    hostname: Text20 = ""
    password: Text20 = ""
    password_file: str = ""
    moduletype: Text30 = "HGM6120N"
    longitude: Text20 = ""
    latitude: Text20 = ""
    altitude: Text20 = ""
    gpsen: Literal[0, 1] = 1

    def __repr__(self) -> str:
        return f"Device({self.hostname!r})"  # never the password


class TLS(Section, frozen=True, kw_only=True):
    """``[server.tls]``: how the server is known, and we to it."""

    enabled: bool = False
    ca: str = ""
    name: str = ""
    certificate: str = ""
    key: str = ""


class Orders(Section, frozen=True, kw_only=True):
    """``[orders]``: what servers can order, whatever they say."""

    writes: Literal["profile", "any"] = "profile"
    coils: list[str] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    allow_port_change: bool = True


class Server(Section, frozen=True, kw_only=True):
    """``[server]``: where the gateway reports to."""

    login: str = ""
    type: Literal["cmmd", "other"] = "cmmd"
    follow: bool = True
    follow_hosts: list[str] = field(default_factory=list)
    data_mode: Literal["ordered", 0, 1] = "ordered"
    heartbeat: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    tls: TLS = field(default_factory=TLS)


class Direction(Section, frozen=True, kw_only=True):
    """``[serial.direction]``: who turns the transceiver of ``serial.rs485`` between sending and receiving, and how."""

    by: Literal["adapter", "driver"] = "adapter"
    send_level: Literal["high", "low"] = "high"
    delay_before: Annotated[float, Meta(ge=0, le=0.1)] = 0.0
    delay_after: Annotated[float, Meta(ge=0, le=0.1)] = 0.0
    hears_itself: bool = False


class Serial(Section, frozen=True, kw_only=True):
    """``[serial]``: the wire to the controller. The ports have the names that the protocol gives them."""

    rs485: str = ""
    rs232: str = ""
    usb: str = ""
    link: str = ""
    use: Literal["", "rs485", "rs232", "usb", "link"] = ""
    baud_rate: Literal[2400, 4800, 9600, 19200, 115200] = 9600
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    timeout: Annotated[float, Meta(ge=0.01, le=60)] = 1.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    quiet: Annotated[float, Meta(ge=0, le=60)] = 0.5
    gap: Annotated[float, Meta(ge=0, le=10)] = 0.0
    echo: Literal["auto"] | bool = "auto"
    back_after: Annotated[int, Meta(ge=0, le=10_000)] = 10
    direction: Direction = field(default_factory=Direction)


class Controller(Section, frozen=True, kw_only=True):
    """``[controller]``: what is at the other end of the wire."""

    unit: Annotated[int, Meta(ge=1, le=247)] = 1
    byte_order: Literal["profile", "little", "big"] = "profile"


class Controllers(Section, frozen=True, kw_only=True):
    """``[controllers]``: the user's own controller profiles."""

    path: str = ""


class Buffer(Section, frozen=True, kw_only=True):
    """``[buffer]``: what is kept while the server cannot be reached."""

    size: Annotated[int, Meta(ge=0, le=1_048_576)] = 64
    interval: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    file: Annotated[str, Meta(min_length=1)] = "buffer.sqlite"


class Input(Section, frozen=True, kw_only=True):
    """The contact of one ``[inputs.NAME]``."""

    source: str = ""
    active_low: bool = False
    bias: Literal["as is", "pull up", "pull down", "disabled"] = "as is"


class Inputs(Section, frozen=True, kw_only=True):
    """``[inputs]``: the device's own four inputs (section 4.5)."""

    door: Input = field(default_factory=Input)
    fire: Input = field(default_factory=Input)
    alarm: Input = field(default_factory=Input)
    inhibit: Input = field(default_factory=Input)


class Status(Section, frozen=True, kw_only=True):
    """``[status]``: how the gateway says how it is."""

    file: str = "status.json"
    interval: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    log_interval: Annotated[float, Meta(ge=60, le=86_400)] = 3600.0


class Settings(Section, frozen=True, kw_only=True):
    """The whole content of a configuration file."""

    device: Device = field(default_factory=Device)
    server: Server = field(default_factory=Server)
    serial: Serial = field(default_factory=Serial)
    controller: Controller = field(default_factory=Controller)
    orders: Orders = field(default_factory=Orders)
    controllers: Controllers = field(default_factory=Controllers)
    buffer: Buffer = field(default_factory=Buffer)
    inputs: Inputs = field(default_factory=Inputs)
    status: Status = field(default_factory=Status)
