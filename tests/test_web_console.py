"""The console's files as they are served, and its texts."""

import gzip
import json
import re
import tomllib
from functools import cache
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cmmd.controllers.catalog import load_catalog
from cmmd.fleet.alarms.alarms import CONTROLLER_SILENT, HISTORY_REFUSED, SESSION_TAKEN_OVER, VALUES_IMPLAUSIBLE
from cmmd.fleet.devices.inputs import INPUTS
from cmmd.fleet.devices.password_check import LONGEST_DELAY_S
from cmmd.web import console
from cmmd.web.api.table import OPERATIONS
from cmmd.web.console import BadTiles, Console, Tiles
from cmmd.web.http.problems import STATUS
from cmmd.web.http.streaming_body import StreamingBody
from tests.daemon import REPOSITORY
from tests.web_world import WebTestCase

STATIC = REPOSITORY / "cmmd" / "web" / "static"
SCRIPTS = sorted(STATIC.glob("js/**/*.js"))
LANGUAGES = ("en", "zh")


@cache
def texts(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((STATIC / "text" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def at_once(function: Any, *arguments: Any, **named: Any) -> Any:
    """In place of a thread."""
    return succeed(function(*arguments, **named))


class FilesTests(WebTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.page = self.world.ask("GET", "/")
        text = self.page.body.decode()
        self.names = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
        self.charts = re.findall(r'name="cmmd-charts" content="([^"]+)"', text)[0]

    def test_page(self) -> None:
        self.assertEqual(self.page.status, 200)
        self.assertEqual(self.page.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(self.page.headers["cache-control"], "no-cache")
        same = self.world.ask("GET", "/", If_None_Match=self.page.headers["etag"])
        self.assertEqual((same.status, same.body), (304, b""))
        self.assertNotIn(b"{{", self.page.body)

    def test_longest(self) -> None:
        """Who takes a little now and then does not do so for ever."""
        client = self.world.begin("GET", self.charts)
        self.assertIsNotNone(client.answer())
        self.patch(console, "LONGEST_S", 20.0)
        self.patch(StreamingBody, "ready", lambda _: Deferred())
        client = self.world.begin("GET", self.charts)
        self.clock.advance(19)
        self.assertFalse(client.transport.lost)
        self.clock.advance(1)
        self.assertTrue(client.transport.lost)

    def test_charts_are_held_once(self) -> None:
        self.assertIs(console._charts(), console._charts())

    def test_nothing_of_others_and_nothing_within_the_page(self) -> None:
        policy = dict(rule.split(" ", 1) for rule in self.page.headers["content-security-policy"].split("; "))
        self.assertEqual(
            (policy["default-src"], policy["script-src"], policy["style-src"]), ("'none'", *["'self'"] * 2)
        )
        self.assertEqual(policy["img-src"], "'self' data: blob:")
        self.assertNotIn("unsafe", self.page.headers["content-security-policy"])
        self.assertNotRegex(
            self.page.body.decode(), r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://(?!www\.w3\.org)"
        )

    def test_all_it_names_is_there_for_ever(self) -> None:
        self.assertGreater(len(self.names), 20)
        for name in [*self.names, self.charts]:
            answer = self.world.ask("GET", name)
            self.assertEqual(answer.status, 200, name)
            self.assertIn("immutable", answer.headers["cache-control"])
            self.assertRegex(answer.headers["content-type"], r"^(text/(css|javascript)|image/svg\+xml); charset=utf-8$")
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")

    def test_all_there_is_can_be_had(self) -> None:
        base = next(name for name in self.names if name.endswith("early.js")).removesuffix("early.js")
        for path in STATIC.glob("**/*"):
            if path.is_file() and path.name != "index.html":
                self.assertEqual(
                    self.world.ask("GET", base + path.relative_to(STATIC).as_posix()).body, path.read_bytes()
                )

    def test_nothing_else_is_there(self) -> None:
        base = self.names[0].rpartition("/")[0]
        ways = (
            "/..%2fconsole.py",
            "/%2e%2e/console.py",
            "/js",
            "/js/",
            "",
            "/",
            "/index.html",
            "//etc/passwd",
        )
        for path in (
            *(base + way for way in ways),
            "/static",
            "/static/",
            "/static/0/js/main.js",
            "/index.html/more",
            "/favicon.ico",
        ):
            self.assertEqual(self.world.ask("GET", path).code, "not_found", path)

    def test_only_reading(self) -> None:
        for path in ("/", self.names[0], self.charts):
            self.assertEqual(self.world.ask("POST", path).code, "method_not_allowed")
            head = self.world.ask("HEAD", path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(self.world.ask("GET", path).body)))

    def test_gzip(self) -> None:
        self.patch(console, "deferToThread", at_once)
        for path in ("/", self.names[-1], self.charts):
            plain = self.world.ask("GET", path)
            for accepted in ("gzip", "br;q=1.0, gzip;q=0.5", "deflate, GZIP"):
                packed = self.world.ask("GET", path, Accept_Encoding=accepted)
                self.assertEqual(packed.headers["content-encoding"], "gzip")
                self.assertEqual(gzip.decompress(packed.body), plain.body)
                self.assertEqual(packed.headers["vary"], "Accept-Encoding")
                self.assertNotEqual(packed.headers["etag"], plain.headers["etag"])
            for accepted in ("", "br", "gzip;q=0", "gzip;q=0.0"):
                self.assertNotIn("content-encoding", self.world.ask("GET", path, Accept_Encoding=accepted).headers)

    def test_gzip_is_made_once(self) -> None:
        with patch("gzip.compress", wraps=gzip.compress) as compress:
            self.patch(console, "deferToThread", at_once)
            for _ in range(3):
                self.world.ask("GET", "/", Accept_Encoding="gzip")
        self.assertEqual(compress.call_count, 1)


class TilesTests(WebTestCase):
    def test_their_host_is_allowed(self) -> None:
        for url, source in (
            ("https://tiles.example/{z}/{x}/{y}.png", "https://tiles.example"),
            ("http://[2001:db8::1]:8080/{z}/{x}/{y}", "http://[2001:db8::1]:8080"),
            ("/tiles/{z}/{x}/{y}.png", ""),
            ("", ""),
        ):
            self.assertEqual(Tiles(url).source(), source)

    def test_in_the_page(self) -> None:
        tiles = Tiles("https://tiles.example/{z}/{x}/{y}.png?a=1&b=2", '© "Map" <b>makers</b>')
        self.world.web.site.resource = Console(tiles, self.clock)
        page = self.world.ask("GET", "/")
        self.assertIn("img-src 'self' data: blob: https://tiles.example;", page.headers["content-security-policy"])
        self.assertIn('content="https://tiles.example/{z}/{x}/{y}.png?a=1&amp;b=2"', page.body.decode())
        self.assertIn('content="© &quot;Map&quot; &lt;b&gt;makers&lt;/b&gt;"', page.body.decode())

    def test_addresses_that_cannot_be(self) -> None:
        for url in (
            "https://tiles.example/{z}/{x}.png",
            "https://tiles.example/{z}/{x}/{y}; script-src *",
            "https://{s}.tiles.example/{z}/{x}/{y}",
            "//tiles.example/{z}/{x}/{y}",
            "ftp://tiles.example/{z}/{x}/{y}",
            "https:///{z}/{x}/{y}",
            "https://tiles.example:port/{z}/{x}/{y}",
            "tiles/{z}/{x}/{y}",
        ):
            self.assertRaises(BadTiles, Tiles(url).source)


class TextsTests(SynchronousTestCase):
    """All texts stand in one table for each language."""

    def test_the_same_keys_and_places(self) -> None:
        english, chinese = (texts(name) for name in LANGUAGES)
        self.assertEqual(sorted(english), sorted(chinese))
        for key, text in english.items():
            self.assertEqual(_places(text), _places(chinese[key]), key)
            self.assertTrue(text.strip() and chinese[key].strip(), key)

    def test_every_key_that_is_asked_for_is_there(self) -> None:
        asked = {
            key for script in SCRIPTS for key in re.findall(r'\bt\(\s*"([^"]+)"', script.read_text(encoding="utf-8"))
        }
        self.assertGreater(len(asked), 150)
        self.assertEqual(sorted(asked - set(texts("en"))), [])

    def test_every_key_is_asked_for(self) -> None:
        source = "\n".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
        made = [
            re.compile("^" + re.sub(r"\\\$\\\{.*?\\\}", ".+", re.escape(key)) + "$")
            for key in re.findall(r"`([a-z_.]+\$\{[^`]*)`", source)
        ]
        unused = [key for key in texts("en") if f'"{key}"' not in source and not any(one.match(key) for one in made)]
        self.assertEqual(unused, [])

    def test_no_text_stands_in_a_script(self) -> None:
        for script in SCRIPTS:
            source = re.sub(r"//.*|/\*.*?\*/", "", script.read_text(encoding="utf-8"), flags=re.DOTALL)
            found = re.findall(
                r'h\("(?:p|h[1-6]|button|span|label|th|td|b|option)", \{[^{}]*\}, "([A-Za-z][^"]{2,})"', source
            )
            self.assertEqual([one for one in found if one != "cmmd"], [], script.name)
            if script.name not in ("i18n.js", "charts.js"):
                self.assertNotRegex(source, "[\u4e00-\u9fff]", script.name)

    def test_titles_of_shipped_profiles(self) -> None:
        known = texts("zh-titles")
        titles = {
            one.title for one in (CONTROLLER_SILENT, SESSION_TAKEN_OVER, HISTORY_REFUSED, VALUES_IMPLAUSIBLE, *INPUTS)
        }
        for path in (REPOSITORY / "cmmd" / "controllers").glob("*.toml"):
            profile = tomllib.loads(path.read_text(encoding="utf-8"))
            titles.add(profile["title"])
            for table in ("points", "signals", "commands"):
                titles |= {one["title"] for one in profile.get(table, {}).values()}
            for words in profile.get("enums", {}).values():
                titles |= set(words.values())
        for shipped in load_catalog():
            titles |= {signal.title for signal in shipped.definition.signals}
            for choice in (choice for variant in shipped.as_written.variants for choice in variant.choices):
                titles |= {signal.title for signal in choice.signals}
                titles |= {word for enum in choice.enums for word in enum.words.values()}
        self.assertEqual(sorted(titles - set(known)), [], "have no Chinese name")
        self.assertEqual(sorted(set(known) - titles), [], "nothing is called so any more")

    def test_codes(self) -> None:
        """Whatever is refused, people read why in their language."""
        for name in LANGUAGES:
            told = {key.removeprefix("code.") for key in texts(name) if key.startswith("code.")}
            self.assertEqual(sorted(told), sorted(STATUS))

    def test_kinds_of_events(self) -> None:
        table = (REPOSITORY / "docs" / "events.md").read_text(encoding="utf-8")
        kinds = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) - {"breaker_changed"}
        self.assertEqual(sorted(kind for kind in kinds if f"event.{kind}" not in texts("en")), [])


class ScriptsTests(SynchronousTestCase):
    def test_addresses_of_the_api(self) -> None:
        """The console asks for what there is."""
        source = (STATIC / "js" / "api.js").read_text(encoding="utf-8")
        known = {re.sub(r"\{\w+\}", "*", one.path) for one in OPERATIONS}
        asked = re.findall(r'(?:get|ask)\((?:"[A-Z]+", )?["`]([^"`]+)["`]', source) + re.findall(
            r"\$\{BASE\}([^`]+)`", source
        )
        paths = {re.sub(r"\$\{of\(hostid\)\}", "/devices/*", one) for one in asked}
        paths = {re.sub(r"\$\{(?!query)[^}]+\}(?:\))?", "*", one).partition("${query")[0] for one in paths}
        self.assertGreater(len(paths), 10)
        self.assertEqual(sorted(path for path in paths if path.startswith("/") and path not in known), [])

    def test_imports_are_there(self) -> None:
        for script in SCRIPTS:
            for name in re.findall(r'^import .* from "([^"]+)";', script.read_text(encoding="utf-8"), re.MULTILINE):
                self.assertTrue((script.parent / name).is_file(), f"{script.name}: {name}")

    def test_sign_in_waits_for_the_answer_to_a_wrong_token(self) -> None:
        source = (STATIC / "js" / "api.js").read_text(encoding="utf-8")
        limit = re.findall(r"^const SIGN_IN_MS = ([\d_]+);", source, re.MULTILINE)
        self.assertGreaterEqual(int(limit[0]) / 1000, LONGEST_DELAY_S + 5)
        self.assertRegex(source, r'ask\("POST", "/session", \{[^;]*limit_ms: SIGN_IN_MS')

    def test_nobody_reads_why_in_the_daemons_words(self) -> None:
        """What an error says is English. Only ``why()`` shows it, where there is no text for its code."""
        for script in SCRIPTS:
            if script.name not in ("api.js", "why.js"):
                self.assertNotRegex(script.read_text(encoding="utf-8"), r"\.message\b|[{,]\s*message\b", script.name)

    def test_what_would_run_text_is_not_there(self) -> None:
        for script in SCRIPTS:
            self.assertNotRegex(
                script.read_text(encoding="utf-8"),
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function",
            )


def _places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))
