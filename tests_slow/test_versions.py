"""cmmd with the oldest and the newest versions of its libraries that setup.cfg allows; constraints.txt has others.

Each is installed into a venv of its own, in which a selection of the fast lane has to pass.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.postgres import PostgresServer
from tests.support import REPOSITORY

TRIED = ("twisted", "msgspec", "psycopg2-binary")
FIRST_WHEELS = {"psycopg2-binary": {(3, 13): "2.9.10"}, "msgspec": {(3, 14): "0.20.0"}}
"""First versions with a wheel for a Python, where these are later than the oldest that is allowed."""

SELECTION = (
    "tests.test_privates",
    "tests.test_wire_reading",
    "tests.test_wire_messages",
    "tests.test_config",
    "tests.test_controllers_catalog",
    "tests.test_fleet_uploads",
    "tests.test_server_session",
    "tests.test_server_receiver",
    "tests.test_control_responder",
    "tests.test_control_tls",
    "tests.test_web_api",
    "tests.test_web_streams",
    "tests.test_gateway_link",
    "tests.test_store_sqlite",
    "tests.test_scenario",  # with SQLite and PostgreSQL, too
    "tests.test_tap",
)
"""What the three libraries do for cmmd: messages, connections, HTTP, TLS, threads, PostgreSQL."""

INSTALL_TIMEOUT_S = 300
TESTS_TIMEOUT_S = 300


def oldest() -> list[str]:
    """Requirements of the oldest versions that setup.cfg allows of the libraries that are tried."""
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    requirements = []
    for line in parser["options"]["install_requires"].split("\n"):
        found = re.fullmatch(r"([a-z0-9-]+)(\[[a-z]+\])? >= ([0-9.]+)", line)
        if found is not None and found[1] in TRIED:
            later = [version for since, version in FIRST_WHEELS.get(found[1], {}).items() if sys.version_info >= since]
            requirements.append(f"{found[1]}{found[2] or ''}=={[found[3], *later][-1]}")
    return requirements


class VersionTests(SynchronousTestCase):
    def run_in(self, folder: Path, *words: str | Path, timeout_s: float, **more: str) -> str:
        """The output of a program of a venv, which must end well."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE_"))}
        done = subprocess.run(
            [folder / "bin" / "python", *words],
            cwd=REPOSITORY,
            env={**kept, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-8000:])
        return done.stdout

    def check(self, *requirements: str) -> dict[str, str]:
        """Try these requirements.

        :return: the versions that were installed.
        """
        folder = Path(mkdtemp(prefix="cmmd-versions-"))
        self.addCleanup(shutil.rmtree, folder)
        venv.create(folder, with_pip=True)
        # Not cmmd itself: it is imported from the checkout, and what it needs beside is newest.
        parser = configparser.ConfigParser()
        parser.read(REPOSITORY / "setup.cfg", encoding="utf-8")
        needed = parser["options"]["install_requires"].split("\n")[1:]
        pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")
        self.run_in(folder, *pip, *needed, *requirements, "hypothesis", timeout_s=INSTALL_TIMEOUT_S)
        server = PostgresServer().start()
        self.addCleanup(server.remove)
        said = self.run_in(
            folder,
            *("-m", "twisted.trial", "--temp-directory", folder / "trial", *SELECTION),
            timeout_s=TESTS_TIMEOUT_S,
            CMMD_TEST_POSTGRES=server.url("postgres"),
        )
        self.assertRegex(said, r"(?m)^PASSED \(successes=[0-9]{3,}\)$")
        listed = self.run_in(folder, "-m", "pip", "freeze", timeout_s=INSTALL_TIMEOUT_S)
        versions = dict(line.lower().split("==") for line in listed.splitlines() if "==" in line)
        return {name: versions[name] for name in TRIED}

    def test_oldest(self) -> None:
        requirements = oldest()
        versions = self.check(*requirements)
        pinned = dict(re.sub(r"\[.*\]", "", one).split("==") for one in requirements)
        self.assertEqual(sorted(pinned), sorted(TRIED))
        for name, version in pinned.items():
            self.assertTrue(f"{versions[name]}.".startswith(f"{version}."), f"{name} {versions[name]}")

    def test_newest(self) -> None:
        self.check("--upgrade")
