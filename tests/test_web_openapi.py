"""The OpenAPI document: valid, whole, and what docs/api.md says."""

import json
import re
from typing import Any

import msgspec
from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.errors import BY_CODE
from cmmd.web.api.openapi import document
from cmmd.web.api.reading import HostId
from cmmd.web.api.table import OPERATIONS, PREFIX, errors_of
from cmmd.web.http.problems import MEANS, STATUS
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
        self.assertEqual(used, set(STATUS) - {"method_not_allowed"})  # which no operation is answered with

    def test_parameters(self) -> None:
        operation = self.document["paths"][f"{PREFIX}/devices/{{hostid}}/readings/buckets"]["get"]
        by_name = {one["name"]: one for one in operation["parameters"]}
        self.assertEqual(by_name["points"]["explode"], False)
        self.assertTrue(by_name["points"]["required"])
        self.assertEqual(by_name["buckets"]["schema"]["default"], 300)
        self.assertEqual(by_name["hostid"]["in"], "path")

    def test_headers(self) -> None:
        """All that are told of requests and answers, but those that every answer has."""
        asked, answered, taken = dict[str, set[str]](), dict[str, set[str]](), dict[str, set[str]]()
        for methods in self.document["paths"].values():
            for one in methods.values():
                name = one["operationId"]
                asked[name] = {that["name"] for that in one["parameters"] if that["in"] == "header"}
                answered[name] = {header for that in one["responses"].values() for header in that.get("headers", ())}
                taken[name] = set(one.get("requestBody", {}).get("content", ()))
        for operation in OPERATIONS:
            name, writes = operation.name, operation.method != "GET" and operation.role is not None
            self.assertEqual("X-CSRF-Token" in asked[name], writes, name)
            self.assertEqual({"If-None-Match"} <= asked[name], {"ETag"} <= answered[name], name)
            self.assertLessEqual({"Retry-After", "WWW-Authenticate"}, answered[name])
        self.assertEqual(asked["post_command"], {"Idempotency-Key", "X-CSRF-Token"})
        self.assertLessEqual({"Idempotent-Replayed", "Location"}, answered["post_command"])
        self.assertIn("Location", answered["enrol_device"])
        self.assertIn("Set-Cookie", answered["sign_in"] & answered["sign_out"])
        self.assertIn("Content-Disposition", answered["list_readings"])
        self.assertEqual(taken["change_settings"], {"application/json", "application/merge-patch+json"})
        self.assertEqual(taken["post_command"], {"application/json"})


class WordsTests(SynchronousTestCase):
    """docs/api.md has the tables that follow from the code."""

    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")

    def test_operations(self) -> None:
        rows = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (\S+)` \| (\w+) \|", self.text, re.MULTILINE)
        wanted = [(one.method, one.path, one.role or "anybody") for one in OPERATIONS]
        self.assertEqual(sorted(rows), sorted(wanted))

    def test_codes(self) -> None:
        rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", self.text, re.MULTILINE)
        said = {(int(status), code) for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)}
        self.assertEqual(said, {(status, code) for code, status in STATUS.items()})
