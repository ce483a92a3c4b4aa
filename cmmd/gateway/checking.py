"""Check the gateway's configuration as a whole, and build its parts from it; nothing is opened."""

from collections.abc import Container
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from serial import SerialException, serial_for_url

from cmmd.controllers.catalog import Catalog
from cmmd.gateway import settings
from cmmd.gateway.allowed_writes import AllowedWrites, Everything, addresses_of
from cmmd.gateway.bus import Direction, Line
from cmmd.gateway.inputs import NAMES, Contact, InputError, contact_at
from cmmd.gateway.link.address import Address, EndpointFactory, parse_address, tcp_endpoints
from cmmd.gateway.link.tls import expected_name, tls_endpoints
from cmmd.gateway.port_settings import BAUD_RATES, PORT_CODES, Wires
from cmmd.tls.files import OwnFiles, TLSFilesError, client_options

__all__ = ["Ports", "SettingsError", "allowed_writes", "input_contacts", "login_address", "server_endpoints"]

_PARITIES = {"none": "N", "even": "E", "odd": "O"}


class SettingsError(ValueError):
    """Values that cannot be used; one line that begins with the key."""


def login_address(server: settings.Server) -> Address:
    """Find the address to log in at.

    :raises SettingsError: that is no address.
    """
    try:
        return parse_address(server.login)
    except ValueError as error:
        raise SettingsError(f"server.login: {error}" if server.login else "server.login: HOST:PORT is needed") from None


def server_endpoints(tls: settings.TLS, login: Address, state: Path, reactor: Any) -> EndpointFactory:
    """The way to servers.

    :param state: what the names of files are relative to.
    :raises SettingsError: certificates that cannot be used, or that would not be.
    """
    plain = tcp_endpoints(reactor)
    files = {name: getattr(tls, name) for name in ("ca", "certificate", "key")}
    if not tls.enabled:
        idle = [name for name, value in {**files, "name": tls.name}.items() if value]
        if idle:
            raise SettingsError(f"server.tls.{idle[0]}: is of no use while enabled is false")
        return plain
    if bool(tls.certificate) != bool(tls.key):
        raise SettingsError("server.tls.key: certificate and key belong together")
    own = OwnFiles(certificate=state / tls.certificate, key=state / tls.key) if tls.key else None
    options = partial(client_options, ca=state / tls.ca if tls.ca else None, own=own)
    try:
        options(expected_name(login, login=login, configured=tls.name))
    except TLSFilesError as error:
        raise SettingsError(f"server.tls: {error}") from None
    except ValueError as error:  # a name that no certificate can be for
        raise SettingsError(f"server.tls.name: {error}") from None
    return tls_endpoints(plain, options, login=login, name=tls.name, clock=reactor)


def allowed_writes(configured: settings.Settings, catalog: Catalog) -> AllowedWrites:
    """The writes that reach the bus.

    :raises SettingsError: an address is none.
    """
    orders, controller = configured.orders, configured.controller
    extra: dict[str, Container[int]] = {}
    for name in ("coils", "registers"):
        try:
            extra[name] = addresses_of(getattr(orders, name))
        except ValueError as error:
            raise SettingsError(f"orders.{name}: {error}") from None
        if orders.writes == "any":
            extra[name] = Everything()
    return AllowedWrites(catalog, configured.device.moduletype, controller.unit, **extra)


class Ports:
    """The serial ports that there are, by their codes (section 4.1), and lines on them.

    :ivar configured: what to use until the server orders something else.
    :raises SettingsError: there is none, it is not said which, or a line on one cannot be.
    """

    def __init__(self, serial: settings.Serial) -> None:
        self._serial = serial
        self._urls = {code: url for name, code in PORT_CODES.items() if (url := getattr(serial, name))}
        if not self._urls:
            raise SettingsError("serial.rs485: a serial port is needed, here or as rs232, usb or link")
        if not serial.use and len(self._urls) > 1:
            raise SettingsError("serial.use: there are several ports, say which to begin with")
        port = PORT_CODES[serial.use] if serial.use else min(self._urls)
        if port not in self._urls:
            raise SettingsError(f"serial.use: serial.{serial.use} is empty")
        self.configured = Wires(port, BAUD_RATES.index(serial.baud_rate))
        for name, code in PORT_CODES.items():
            if code in self._urls:
                try:
                    _check(self.line(Wires(code, self.configured.module_baud)))
                except ValueError as error:
                    raise SettingsError(f"serial.{name}: {error}") from None

    def __contains__(self, code: object) -> bool:
        return code in self._urls

    def line(self, wires: Wires) -> Line:
        """The line on one of them."""
        serial = self._serial
        driven = serial.direction.by == "driver" and wires.module_port == PORT_CODES["rs485"]
        return Line(
            url=self._urls[wires.module_port],
            baud_rate=BAUD_RATES[wires.module_baud],
            parity=_PARITIES[serial.parity],  # type: ignore[arg-type]
            stop_bits=serial.stop_bits,
            rs485=_direction(serial.direction) if driven else None,
            timeout_s=serial.timeout,
            retries=serial.retries,
            quiet_s=serial.quiet,
            gap_s=serial.gap,
            echo=None if serial.echo == "auto" else serial.echo,
        )


def _direction(direction: settings.Direction) -> Direction:
    return Direction(
        rts_sends=direction.send_level == "high",
        delay_before_s=direction.delay_before,
        delay_after_s=direction.delay_after,
        hears_itself=direction.hears_itself,
    )


def _check(line: Line) -> None:
    """Look whether something could be opened there; whether it is there now is another matter.

    :raises ValueError: nothing could.
    """
    if line.address is None and line.remote:
        with suppress(SerialException):  # hwgrep:// finds nothing: it may be plugged in later
            serial_for_url(line.url, do_not_open=True)


def input_contacts(inputs: settings.Inputs) -> dict[str, Contact]:
    """The contacts that there are, by the names of the inputs.

    :raises SettingsError: a source names none.
    """
    contacts: dict[str, Contact] = {}
    for name in NAMES:
        try:
            contact = contact_at(getattr(inputs, name))
        except InputError as error:
            raise SettingsError(f"inputs.{name}.{error}") from None
        if contact is not None:
            contacts[name] = contact
    return contacts
