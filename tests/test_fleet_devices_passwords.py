"""Passwords: what is kept, what is computed, what is remembered."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices import passwords
from cmmd.fleet.devices.passwords import Abandoned, Passwords
from cmmd.fleet.errors import TooBusy

ADDRESS = "192.0.2.7"


def always() -> bool:
    return True


class PasswordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.computed = 0
        self.held: list[tuple[Deferred[Any], Callable[[], Any]]] | None = None
        self.clock = Clock()
        self.passwords = Passwords(self.compute, 2, self.clock)

    def compute(self, work: Callable[[], Any]) -> Deferred[Any]:
        self.computed += 1
        if self.held is None:
            return maybeDeferred(work)
        waiting: Deferred[Any] = Deferred()
        self.held.append((waiting, work))
        return waiting

    def finish(self) -> None:
        """Compute what is held."""
        while self.held:
            held, work = self.held.pop()
            held.callback(work())

    def matches(self, hostid: str, password: str, kept: str) -> bool:
        verdict = self.passwords.verdict(hostid, password, kept)
        if verdict is not None:
            return verdict
        right = self.successResultOf(Deferred.fromCoroutine(self.passwords.matches(password, kept, ADDRESS, always)))
        if right:
            self.passwords.remember(hostid, password, kept)
        return right

    def hashed(self, password: str) -> str:
        return self.successResultOf(Deferred.fromCoroutine(self.passwords.hash(password, ADDRESS, always)))

    def test_hash_is_salted_scrypt(self) -> None:
        first, second = self.hashed("123456"), self.hashed("123456")
        self.assertNotEqual(first, second)
        self.assertTrue(first.startswith("scrypt$11$8$1$"))
        self.assertNotIn("123456", first)

    def test_right_and_wrong(self) -> None:
        kept = self.hashed("123456")
        self.assertTrue(self.matches("A", "123456", kept))
        self.assertFalse(self.matches("A", "123457", kept))
        self.assertFalse(self.matches("A", "", kept))

    def test_hash_of_a_published_vector(self) -> None:
        # RFC 7914, section 12: scrypt(P="pleaseletmein", S="SodiumChloride", N=16384, r=8, p=1), first 32 bytes
        kept = "scrypt$14$8$1$U29kaXVtQ2hsb3JpZGU=$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI="
        self.assertTrue(self.matches("A", "pleaseletmein", kept))
        self.assertFalse(self.matches("A", "pleaseletmeout", kept))

    def test_costly_check_is_made_once(self) -> None:
        kept = self.hashed("123456")
        for _ in range(10):
            self.assertTrue(self.matches("A", "123456", kept))
        self.assertEqual(self.computed, 2)

    def test_wrong_ones_are_computed_until_the_right_one_is_known(self) -> None:
        kept = self.hashed("123456")
        self.assertFalse(self.matches("A", "654321", kept))
        self.assertFalse(self.matches("A", "654321", kept))
        self.assertEqual(self.computed, 3)
        self.matches("A", "123456", kept)
        for _ in range(3):
            self.assertFalse(self.matches("A", "654321", kept))
        self.assertTrue(self.matches("A", "123456", kept))
        self.assertEqual(self.computed, 4)

    def test_remembered_for_that_device_and_hash_only(self) -> None:
        first, second = self.hashed("123456"), self.hashed("other")
        self.passwords.remember("A", "123456", first)
        self.assertTrue(self.matches("A", "123456", first))
        self.assertEqual(self.computed, 2)
        self.assertFalse(self.matches("A", "123456", second))
        self.assertTrue(self.matches("B", "123456", first))
        self.assertEqual(self.computed, 4)

    def test_so_many_at_once_and_no_more(self) -> None:
        self.held = []
        waiting = [Deferred.fromCoroutine(self.passwords.hash(f"{n}", ADDRESS, always)) for n in range(5)]
        self.assertEqual(len(self.held), 2)
        self.finish()
        self.assertEqual([len(self.successResultOf(one).split("$")) for one in waiting], [6] * 5)

    def test_nobody_waits(self) -> None:
        self.failureResultOf(Deferred.fromCoroutine(self.passwords.hash("1", ADDRESS, lambda: False)), Abandoned)
        self.assertEqual(self.computed, 0)
        self.hashed("1")

    def test_too_many_waiting(self) -> None:
        self.patch(passwords, "_MOST_WAITING", 3)
        self.passwords = Passwords(self.compute, 2, self.clock)
        self.held = []
        waiting = [Deferred.fromCoroutine(self.passwords.hash(f"{number}", ADDRESS, always)) for number in range(5)]
        self.failureResultOf(Deferred.fromCoroutine(self.passwords.hash("5", ADDRESS, always)), TooBusy)
        self.finish()
        for one in waiting:
            self.successResultOf(one)

    def test_waiting_for_too_long(self) -> None:
        self.held = []
        waiting = [Deferred.fromCoroutine(self.passwords.hash(f"{number}", ADDRESS, always)) for number in range(3)]
        self.clock.advance(14.9)
        self.assertNoResult(waiting[2])
        self.clock.advance(0.2)
        self.failureResultOf(waiting.pop(), TooBusy)
        self.finish()
        for one in waiting:
            self.successResultOf(one)
        self.assertEqual(self.computed, 2)
