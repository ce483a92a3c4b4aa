"""The identity that the gateway logs in with (protocol section 4.1)."""

import hmac
import re
import socket
from pathlib import Path

import msgspec

from cmmd.atomic_file import write_kept
from cmmd.gateway.settings import Device
from cmmd.wire.messages import LoginParams

__all__ = ["HOSTID_FILE", "IdentityError", "derived_hostid", "login_params", "own_hostid", "own_password"]

MACHINE_ID = Path("/etc/machine-id")
HOSTID_FILE = "hostid"
HOSTID_DIGITS = 24
LONGEST_NAME = 20
LONGEST_PASSWORD = 20

_APPLICATION = b"cmm-gateway hostid 96abf2a4-6a0c-4b8e-a0a5-5b9c1f6a8f4d"
"""What sets our hash of a machine id apart from those of other programs."""

_FURTHEST = {"longitude": 180.0, "latitude": 90.0, "altitude": 10_000.0}


class IdentityError(Exception):
    """The gateway cannot say who it is; one line that begins with the key or the file."""


def derived_hostid(machine_id: str) -> str:
    """Make a hostid of a machine id: 24 upper-case hex digits, as real modules have them.

    A machine id is confidential (machine-id(5)): like systemd's own application-specific ids this is an HMAC keyed with
    it, from which it cannot be found.

    :param machine_id: 32 hex digits.
    :raises ValueError: it is something else.
    """
    if not re.fullmatch(r"[0-9a-f]{32}", machine_id) or int(machine_id, 16) == 0:
        raise ValueError("no machine id: 32 hex digits expected")
    return hmac.digest(bytes.fromhex(machine_id), _APPLICATION, "sha256").hex().upper()[:HOSTID_DIGITS]


def own_hostid(state: Path, machine_id: Path = MACHINE_ID) -> str:
    """The hostid of this machine: derived at the first call, and kept, so that it stays whatever happens to the id.

    :param state: the state directory.
    :raises IdentityError: none can be had, or what is kept is no hostid.
    """
    kept = state / HOSTID_FILE
    try:
        text = kept.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise IdentityError(f"{kept}: {error.strerror}") from None
    else:
        if not re.fullmatch(r"[0-9A-F]{24}", text):
            raise IdentityError(f"{kept}: no hostid; remove it to have one derived again, or set device.hostid")
        return text
    try:
        hostid = derived_hostid(machine_id.read_text(encoding="ascii", errors="replace").strip())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise IdentityError(f"device.hostid: none can be derived from {machine_id} ({reason}): set one") from None
    try:
        write_kept(kept, f"{hostid}\n")
    except OSError as error:
        raise IdentityError(f"{kept}: {error.strerror}") from None
    return hostid


def own_password(device: Device, state: Path) -> str:
    """The password, from the configuration or the first line of its file.

    :param state: what the file's name is relative to.
    :raises IdentityError: there is none, or one in each place, or one that no module could have.
    """
    if device.password and device.password_file:
        raise IdentityError("device.password: there is a password_file, too; leave one of them out")
    if not device.password_file:
        if not device.password:
            raise IdentityError("device.password: give one, here or in password_file")
        return device.password
    path = state / device.password_file
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise IdentityError(f"device.password_file: {path}: {error.strerror}") from None
    except ValueError:
        raise IdentityError(f"device.password_file: {path}: not UTF-8") from None
    if not lines or not 1 <= len(lines[0]) <= LONGEST_PASSWORD:
        raise IdentityError(f"device.password_file: {path}: 1 to {LONGEST_PASSWORD} characters expected, in one line")
    return lines[0]


def login_params(device: Device, hostid: str, password: str) -> LoginParams:
    """Build the parameters of a login, without port and baud rate. Default hostname: this machine's.

    :raises IdentityError: a value is not what the protocol allows.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,24}", hostid):
        raise IdentityError("device.hostid: 1 to 24 letters, digits, _ and - expected")
    if bool(device.longitude) != bool(device.latitude):
        raise IdentityError("device.longitude: needs latitude")
    for key, furthest in _FURTHEST.items():
        _check_number(key, getattr(device, key), furthest)
    return msgspec.convert(
        {
            "hostid": hostid,
            "hostname": device.hostname or socket.gethostname().partition(".")[0][:LONGEST_NAME],
            "password": password,
            "longitude": device.longitude or None,
            "latitude": device.latitude or None,
            "altitude": device.altitude or None,
            "gpsen": device.gpsen if device.longitude else None,
            "moduletype": device.moduletype,
        },
        LoginParams,
    )


def _check_number(key: str, text: str, furthest: float) -> None:
    if not text:
        return
    plain = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII)
    if plain is None or abs(float(text)) > furthest:
        raise IdentityError(f"device.{key}: a number from {-furthest:g} to {furthest:g} expected, in quotes")
