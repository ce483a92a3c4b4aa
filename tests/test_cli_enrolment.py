"""cmmctl: who can register, devices that wait, and repairs of squatted hostids."""

from twisted.internet.defer import Deferred

from cmmd.fleet.devices.registry import LoginRefused
from tests.cli_world import CmmctlTestCase
from tests.world import HOSTID, login_params

NEW = "3439333633355115004B0099"


class EnrolmentTests(CmmctlTestCase):
    async def come(self, hostid: str = NEW, password: str = "123456") -> bool:
        """Have a device log in; whether it was let in."""
        registry = self.control.operations.fleet.registry
        try:
            await Deferred.fromCoroutine(registry.login(login_params(hostid, password=password), "192.0.2.7"))
        except LoginRefused:
            return False
        return True

    async def test_status_urges_to_close(self) -> None:
        self.assertIn("OPEN: any device that reaches the port is registered", (await self.done("status")).out)
        await self.done("enrolment", "approve")
        self.assertNotIn("OPEN", (await self.done("status")).out)

    async def test_a_device_waits_and_is_let_in(self) -> None:
        await self.done("enrolment", "approve")
        self.assertFalse(await self.come())
        shown = (await self.done("enrolment")).out
        self.assertIn(NEW, shown)
        self.assertIn("HGM6120N, profile hgm6120n", shown)
        self.assertEqual((await self.done("--json", "enrolment")).json["waiting"][0]["address"], "192.0.2.7")
        await self.done("approve", NEW)
        self.assertFalse(await self.come(password="squatter"))
        self.assertTrue(await self.come())

    async def test_rejected(self) -> None:
        await self.done("enrolment", "approve")
        await self.come()
        await self.done("reject", NEW)
        self.assertEqual((await self.done("--json", "enrolment")).json["waiting"], [])
        self.assertEqual((await self.call("approve", NEW)).status, 1)
        self.assertEqual((await self.call("reject", NEW)).status, 1)

    async def test_forgotten_only_when_told_twice(self) -> None:
        self.assertEqual((await self.call("device", HOSTID, "forget")).status, 2)
        self.assertEqual((await self.done("show", HOSTID)).status, 0)
        await self.done("device", HOSTID, "forget", "--yes")
        self.assertEqual((await self.call("show", HOSTID)).status, 1)
        self.assertTrue(await self.come(HOSTID, "another"))

    async def test_password_reset(self) -> None:
        self.assertFalse(await self.come(HOSTID, "another"))
        await self.done("device", HOSTID, "reset-password")
        self.assertTrue(await self.come(HOSTID, "another"))

    async def test_no_such_policy(self) -> None:
        self.assertEqual((await self.call("enrolment", "closed")).status, 2)
