"""``cmmd.gateway.identity`` and ``kept``: the same hostid for ever, and a login within the protocol's limits."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from cmmd.atomic_file import write_kept
from cmmd.gateway.identity import (
    HOSTID_FILE,
    IdentityError,
    derived_hostid,
    login_params,
    own_hostid,
    own_password,
)
from cmmd.gateway.settings import Device

MACHINE_ID = "0123456789abcdef0123456789abcdef"
HOSTID = "92B32A5A27E7BF9C3D4FAF13"


class HostidTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.machine_id = self.state / "machine-id"
        self.machine_id.write_text(f"{MACHINE_ID}\n")

    def refused(self) -> str:
        return str(self.assertRaises(IdentityError, own_hostid, self.state, self.machine_id))

    def test_looks_like_a_real_one_and_tells_nothing(self) -> None:
        hostid = derived_hostid(MACHINE_ID)
        self.assertRegex(hostid, r"\A[0-9A-F]{24}\Z")
        self.assertNotIn(hostid[:8].lower(), MACHINE_ID)
        self.assertNotEqual(hostid, derived_hostid(MACHINE_ID.replace("0", "1")))

    def test_never_becomes_another_with_a_new_version(self) -> None:
        self.assertEqual(derived_hostid(MACHINE_ID), HOSTID)

    def test_stays_when_the_machine_id_changes(self) -> None:
        first = own_hostid(self.state, self.machine_id)
        self.machine_id.write_text("f" * 32)
        self.assertEqual(own_hostid(self.state, self.machine_id), first)
        self.machine_id.unlink()
        self.assertEqual(own_hostid(self.state, self.machine_id), first)

    def test_machine_without_an_id(self) -> None:
        for text in ("uninitialized", "", "0" * 32, MACHINE_ID.upper(), "é"):
            self.machine_id.write_text(text)
            self.assertIn("device.hostid: none can be derived", self.refused())
        self.machine_id.unlink()
        self.assertIn("No such file", self.refused())
        self.assertFalse((self.state / HOSTID_FILE).exists())

    def test_what_is_kept_is_never_replaced_by_a_guess(self) -> None:
        kept = self.state / HOSTID_FILE
        for text in ("", "rubbish", HOSTID.lower(), HOSTID[:-1]):
            kept.write_text(text)
            self.assertIn(f"{kept}: no hostid", self.refused())
            self.assertEqual(kept.read_text(), text)
        kept.unlink()
        kept.mkdir()
        self.assertIn(f"{kept}: ", self.refused())

    def test_state_that_takes_nothing(self) -> None:
        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertIn("No space left on device", self.refused())
        self.assertFalse((self.state / HOSTID_FILE).exists())


class KeptTests(SynchronousTestCase):
    def test_the_old_text_or_the_new_one(self) -> None:
        path = Path(self.mktemp())
        write_kept(path, "old")
        path.with_name(f"{path.name}.new").write_text("of a power cut")
        write_kept(path, "new")
        self.assertEqual(path.read_text(), "new")
        self.assertFalse(path.with_name(f"{path.name}.new").exists())

        def broken(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(os, "fsync", broken)
        self.assertRaises(OSError, write_kept, path, "newer")
        self.assertEqual(path.read_text(), "new")

    def test_on_disk_before_it_has_its_name(self) -> None:
        path, seen = Path(self.mktemp()), []
        fsync = os.fsync

        def noted(file: int) -> None:
            seen.append(path.exists())
            fsync(file)

        self.patch(os, "fsync", noted)
        write_kept(path, "text")
        self.assertEqual(seen, [False, True])  # the text, then the folder


class PasswordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.file = self.state / "password"

    def refused(self, device: Device) -> str:
        return str(self.assertRaises(IdentityError, own_password, device, self.state))

    def test_from_the_configuration(self) -> None:
        self.assertEqual(own_password(Device(password="123456"), self.state), "123456")

    def test_from_a_file(self) -> None:
        self.file.write_text("12 34 \nnot this\n")
        self.assertEqual(own_password(Device(password_file="password"), self.state), "12 34 ")
        self.assertEqual(own_password(Device(password_file=str(self.file.absolute())), Path("/nowhere")), "12 34 ")

    def test_none_or_two(self) -> None:
        self.assertIn("give one", self.refused(Device()))
        self.assertIn("leave one of them out", self.refused(Device(password="1", password_file="password")))

    def test_files_that_hold_none(self) -> None:
        device = Device(password_file="password")
        self.assertIn("No such file", self.refused(device))
        for text in (b"", b"\n", b"x" * 21, b"\xff"):
            self.file.write_bytes(text)
            self.assertIn(f"device.password_file: {self.file}: ", self.refused(device))

    def test_is_not_shown(self) -> None:
        self.assertNotIn("secret", repr(Device(password="secret")))


class LoginTests(SynchronousTestCase):
    def test_everything(self) -> None:
        device = Device(
            hostname="Yard 3", moduletype="HGM4020N", longitude="113.62", latitude="-34.7", altitude="110", gpsen=0
        )
        params = login_params(device, "G1", "123456")
        self.assertEqual(
            (params.hostid, params.hostname, params.password, params.moduletype),
            ("G1", "Yard 3", "123456", "HGM4020N"),
        )
        self.assertEqual(
            (params.longitude, params.latitude, params.altitude, params.gpsen), ("113.62", "-34.7", "110", 0)
        )
        self.assertEqual((params.modulePort, params.moduleBaud), (None, None))

    def test_what_is_not_given_is_left_out(self) -> None:
        params = login_params(Device(), "G1", "123456")
        self.assertEqual((params.longitude, params.latitude, params.altitude, params.gpsen), (None,) * 4)

    def test_without_a_name_it_is_the_machine_s(self) -> None:

        self.patch(socket, "gethostname", lambda: "a-host-with-quite-a-long-name.example")
        self.assertEqual(login_params(Device(), "G1", "1").hostname, "a-host-with-quite-a-")

    def test_wrong_values_are_named(self) -> None:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"longitude": "10"}, "device.longitude: needs latitude"),
            ({"latitude": "10"}, "device.longitude: needs latitude"),
            ({"longitude": "181", "latitude": "1"}, "device.longitude: a number from -180 to 180"),
            ({"longitude": "1", "latitude": "90.1"}, "device.latitude: a number from -90 to 90"),
            ({"longitude": "1", "latitude": "north"}, "device.latitude: "),
            ({"altitude": "1e3"}, "device.altitude: "),
            ({"altitude": "nan"}, "device.altitude: "),
        ]
        for values, message in wrong:
            error = self.assertRaises(IdentityError, login_params, Device(**values), "G1", "1")
            self.assertIn(message, str(error))
        for hostid in ("", "x" * 25, "a b", "ä"):
            error = self.assertRaises(IdentityError, login_params, Device(), hostid, "1")
            self.assertIn("device.hostid: ", str(error))
