"""Tokens: kept as sums, in a file that only its owner reads, and that counts as it is now."""

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.roles import ROLES, may
from cmmd.fleet.service.tokens import BadTokenName, NoSuchToken, Tokens, TokensUnusable


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.file = self.state / "tokens.json"
        self.tokens = Tokens(self.state)

    def test_made_and_found(self) -> None:
        self.assertFalse(self.tokens.any)
        shown = {role: self.tokens.add(f"my-{role}", role) for role in ROLES}
        self.assertTrue(self.tokens.any)
        for role, token in shown.items():
            found = self.tokens.find(token)
            assert found is not None
            self.assertEqual((found.name, found.role), (f"my-{role}", role))
            self.assertNotIn(token, self.file.read_text())
            self.assertGreater(len(token), 40)
        for wrong in ("", "cmmd_", next(iter(shown.values()))[:-1], "\ud800"):
            self.assertIsNone(self.tokens.find(wrong))

    def test_only_the_owner_reads_it(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.tokens.add("me", "viewer")
        status = self.file.stat()
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o600)
        self.assertEqual(status.st_uid, self.state.stat().st_uid)
        self.assertEqual([one.name for one in self.state.iterdir()], ["tokens.json"])

    def test_another_process_edits_it(self) -> None:
        self.assertFalse(self.tokens.any)
        token = Tokens(self.state).add("me", "admin")
        self.assertIsNotNone(self.tokens.find(token))
        self.assertIsNotNone(self.tokens.named("me"))
        Tokens(self.state).revoke("me")
        self.assertIsNone(self.tokens.find(token))
        self.assertIsNone(self.tokens.named("me"))
        self.assertTrue(self.tokens.any)  # an empty list lets nobody in

    def test_names(self) -> None:
        self.tokens.add("me", "viewer")
        for name in ("me", "", "a b", "-a", "x" * 33, "ä", "a\n"):
            self.assertRaises(BadTokenName, self.tokens.add, name, "viewer")
        self.assertRaises(NoSuchToken, self.tokens.revoke, "you")

    def test_a_file_that_cannot_be_read(self) -> None:
        """Nobody comes in by a mistake: neither those that counted before, nor without a token."""
        token = self.tokens.add("me", "viewer")
        self.assertIsNotNone(self.tokens.find(token))
        for content in ("", "{", "[]", '{"tokens": [{"name": "me", "role": "king"}]}'):
            self.file.write_text(content)
            self.assertTrue(self.tokens.any)
            self.assertIsNone(self.tokens.find(token))
            self.assertRaises(TokensUnusable, self.tokens.add, "you", "viewer")
        self.file.unlink()
        self.assertFalse(self.tokens.any)

    def test_no_directory(self) -> None:
        self.assertRaises(TokensUnusable, Tokens(self.state / "none").add, "me", "viewer")
        self.assertRaises(TokensUnusable, Tokens(self.file).add, "me", "viewer")

    def test_not_readable_or_writable(self) -> None:
        self.file.mkdir()
        self.assertRaises(TokensUnusable, self.tokens.read)
        self.assertTrue(self.tokens.any)

    def test_roles(self) -> None:
        self.assertEqual(
            [[may(role, needed) for needed in ROLES] for role in ROLES],
            [
                [True, False, False, False],
                [True, True, False, False],
                [True, True, True, False],
                [True, True, True, True],
            ],
        )
