"""The configuration: typed, from TOML, with every default. etc/cmmd.toml says what each option is for."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

__all__ = ["Config", "ConfigError", "load", "read"]

Table = TypeVar("Table", bound=Struct)

Seconds = Annotated[float, Meta(ge=1, le=86_400)]
Milliseconds = Annotated[int, Meta(ge=100, le=86_400_000)]
Mebibytes = Annotated[int, Meta(ge=16, le=1_048_576)]
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HostPort = Annotated[str, Meta(pattern=rf"\A(?!tcp6?:|ssl:)(|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):{_PORT})\Z")]
Endpoints = list[Annotated[str, Meta(min_length=1)]]
SomeEndpoints = Annotated[Endpoints, Meta(min_length=1)]

_DEVICE_PORT = "tcp:21318"


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class DeviceTLS(Section, frozen=True, kw_only=True):
    """``[server.tls]``: the certificates that gateways show at the ``ssl:`` ports of devices."""

    client_ca: str = ""
    required: bool = False
    revoked: str = ""


class Server(Section, frozen=True, kw_only=True):
    """``[server]``: where devices come in, and the limits of time and size for each."""

    login: SomeEndpoints = field(default_factory=lambda: [_DEVICE_PORT])
    live: SomeEndpoints = field(default_factory=lambda: [_DEVICE_PORT])
    historic: SomeEndpoints = field(default_factory=lambda: [_DEVICE_PORT])
    advertise_live: HostPort = ""
    advertise_historic: HostPort = ""
    idle_timeout: Seconds = 180.0
    login_timeout: Seconds = 30.0
    reconnect_grace: Annotated[float, Meta(ge=0, le=86_400)] = 180.0
    max_frame: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] = 65536
    max_depth: Annotated[int, Meta(ge=4, le=64)] = 16
    max_frame_errors: Annotated[int, Meta(ge=1, le=1000)] = 3
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 50000
    unknown_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    fresh_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 500
    exempt: list[str] = field(default_factory=list)
    bind_session: Literal["off", "network", "address"] = "off"
    bind_hours: Annotated[float, Meta(ge=1, le=87_600)] = 168.0
    trusted_proxies: list[str] = field(default_factory=list)
    tls: DeviceTLS = field(default_factory=DeviceTLS)


class Enrolment(Section, frozen=True, kw_only=True):
    """``[enrolment]``: who may register."""

    policy: Literal["open", "approve", "known"] = "open"
    accept: list[str] = field(default_factory=list)
    max_devices: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000


class Upload(Section, frozen=True, kw_only=True):
    """``[upload]``: what devices are sent at login about uploading."""

    data_mode: Literal[0, 1] = 1
    online_rate: Milliseconds = 3000
    offline_rate: Milliseconds = 3000
    reset_packet_num: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class History(Section, frozen=True, kw_only=True):
    """``[history]``: what is kept, and for how long."""

    interval: Seconds = 60.0
    retention_days: Annotated[int, Meta(ge=1, le=36_500)] = 400


class Store(Section, frozen=True, kw_only=True):
    """``[store]``: where it is kept."""

    url: Annotated[str, Meta(min_length=1)] = "sqlite:cmmd.sqlite"
    password_file: str = ""
    spool_max: Mebibytes = 1024
    spool_spare: Annotated[int, Meta(ge=0, le=1_048_576)] = 64


class Commands(Section, frozen=True, kw_only=True):
    """``[commands]``: what may be sent to devices, and at what pace."""

    enabled: bool = True
    timeout: Seconds = 30.0
    gap: Annotated[float, Meta(ge=0, le=60)] = 0.2
    queue: Annotated[int, Meta(ge=0, le=1000)] = 5
    raw: bool = True


class ControlTLS(Section, frozen=True, kw_only=True):
    """``[control.tls]``: where programs come in over a network. All four files and places belong together."""

    listen: Endpoints = field(default_factory=list)
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    revoked: str = ""
    default_role: Literal["viewer", "operator", "engineer", "admin"] = "admin"


class Control(Section, frozen=True, kw_only=True):
    """``[control]``: where programs come in (AMP)."""

    listen: Endpoints = field(default_factory=lambda: ["unix:control.sock:mode=600"])
    tls: ControlTLS = field(default_factory=ControlTLS)


class Web(Section, frozen=True, kw_only=True):
    """``[web]``: where people and Prometheus come in."""

    listen: Endpoints = field(default_factory=lambda: ["tcp:21380:interface=127.0.0.1"])
    device_metrics_max_age: Seconds = 300.0
    tiles: str = ""
    tiles_credit: str = ""


class Security(Section, frozen=True, kw_only=True):
    """``[security]``: where security events go, besides the store."""

    syslog: bool = False
    file: str = ""


class Controllers(Section, frozen=True, kw_only=True):
    """``[controllers]``: the user's own controller profiles."""

    path: str = ""


class Config(Section, frozen=True, kw_only=True):
    """The whole content of a configuration file."""

    server: Server = field(default_factory=Server)
    enrolment: Enrolment = field(default_factory=Enrolment)
    upload: Upload = field(default_factory=Upload)
    history: History = field(default_factory=History)
    store: Store = field(default_factory=Store)
    commands: Commands = field(default_factory=Commands)
    control: Control = field(default_factory=Control)
    web: Web = field(default_factory=Web)
    security: Security = field(default_factory=Security)
    controllers: Controllers = field(default_factory=Controllers)


class ConfigError(Exception):
    """The configuration cannot be used: one line that names the file and the key."""


def load(path: Path | None) -> Config:
    """Read the configuration of cmmd.

    :param path: a TOML file; None for all defaults.
    :raises ConfigError: see :func:`read`.
    """
    return Config() if path is None else read(path, Config)


def read(path: Path, table: type[Table]) -> Table:
    """Read a configuration and check it.

    :param path: a TOML file.
    :param table: what the whole file is.
    :raises ConfigError: the file cannot be read, is no TOML, or has a wrong or unknown key.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8-sig")), table)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_located(str(error))}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number too long to read, nested too deep
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _located(message: str) -> str:
    """The message with the key in front, as it is in the file."""
    what, _, where = message.partition(" - at ")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.*)`", what, re.DOTALL):
        name = unknown[1] if unknown[1].isprintable() else ascii(unknown[1])
        return f"{key}.{name}: unknown key".removeprefix(".")
    if "matching regex" in what:  # there is one pattern: HostPort
        what = "HOST:PORT expected, or nothing"
    return f"{key}: {what}"
