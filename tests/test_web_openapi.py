"""The OpenAPI document: valid, whole, and what docs/api.md says."""

import json
import re
from typing import Any

import msgspec
from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.desk.errors import BY_CODE
from cmmd.web.api.openapi import document
from cmmd.web.api.reading import HostId
from cmmd.web.api.table import OPERATIONS, PREFIX, errors_of
from cmmd.web.problems import MEANS, STATUS
from tests.support import REPOSITORY


class DocumentTests(SynchronousTestCase):
    document: Any = json.loads(msgspec.json.encode(document()))

    def test_valid(self) -> None:
        validate(self.document)
        self.assertEqual(self.document["openapi"], "3.1.0")

    def test_hostids_end_where_they_end(self) -> None:
        self.assertEqual(msgspec.convert("abc", HostId), "abc")
        for wrong in ("abc\n", "a b", ""):
            self.assertRaises(msgspec.ValidationError, msgspec.convert, wrong, HostId)

    def test_every_operation(self) -> None:
        described = {
            (path, method): one["operationId"]
            for path, methods in self.document["paths"].items()
            for method, one in methods.items()
        }
        wanted = {(PREFIX + one.path, one.method.lower()): one.name for one in OPERATIONS}
        self.assertEqual(described, wanted)
        self.assertEqual(len(set(wanted.values())), len(OPERATIONS))

    def test_every_code(self) -> None:
        self.assertEqual(set(BY_CODE) - set(STATUS), set())
        self.assertEqual(set(STATUS), set(MEANS))
        used = {code for one in OPERATIONS for code in errors_of(one)}
        self.assertEqual(used - set(STATUS), set())

    def test_parameters(self) -> None:
        operation = self.document["paths"][f"{PREFIX}/devices/{{hostid}}/readings/buckets"]["get"]
        by_name = {one["name"]: one for one in operation["parameters"]}
        self.assertEqual(by_name["points"]["explode"], False)
        self.assertTrue(by_name["points"]["required"])
        self.assertEqual(by_name["buckets"]["schema"]["default"], 300)
        self.assertEqual(by_name["hostid"]["in"], "path")


class WordsTests(SynchronousTestCase):
    """docs/api.md has the tables that follow from the code."""

    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")

    def test_operations(self) -> None:
        rows = re.findall(r"^\| `(GET|POST|PATCH|DELETE) (\S+)` \| (\w+) \|", self.text, re.MULTILINE)
        wanted = [(one.method, one.path, one.role or "anybody") for one in OPERATIONS]
        self.assertEqual(sorted(rows), sorted(wanted))

    def test_codes(self) -> None:
        rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", self.text, re.MULTILINE)
        said = {(int(status), code) for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)}
        self.assertEqual(said, {(status, code) for code, status in STATUS.items()})
