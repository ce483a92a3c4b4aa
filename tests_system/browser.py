"""Debian's Chromium without a window, and what a page in it does that it should not."""

import atexit
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Error, Page, Route, sync_playwright

__all__ = ["WIDTHS", "Visit", "Visitor", "serious_violations"]

WIDTHS = {"phone": (390, 844), "desk": (1280, 900), "wall": (2560, 1440)}

WAIT_MS = 90_000

OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
"""As root, without a GPU, and without asking anybody for anything."""


@cache
def _axe() -> str:
    """axe-core's source, out of a Python package that brings it along."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None and spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


class Visit:
    """A page, and what it said and asked for.

    :ivar errors: on its console, and exceptions that nobody caught. :ivar strangers: requests to other hosts.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self._url = url
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error.stack)))
        self.page.on("request", lambda request: self._look(request.url))

    def _look(self, asked: str) -> None:
        if not asked.startswith((self._url + "/", "data:", "blob:")):
            self.strangers.append(asked)

    def open(self, place: str = "/") -> "Visit":
        """Go to an address of the console: ``/`` for the page itself, ``#/map`` for a place in it."""
        if place.startswith("#"):
            self.page.evaluate("place => { location.hash = place; }", place)
        else:
            self.page.goto(self._url + place)
        return self

    def sign_in(self, token: str) -> "Visit":
        """Sign in, from wherever the page is."""
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("header.top")
        return self

    def until(self, expression: str, what: str) -> None:
        """Wait until something holds in the page. (Playwright's own way needs eval, which the page's policy refuses.)

        :raises AssertionError: it does not.
        """
        for _ in range(WAIT_MS // 50):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never: {what}")

    def until_held(self, held: list[Route]) -> None:
        """Wait until ``holding`` keeps a request waiting.

        :raises AssertionError: there is none.
        """
        for _ in range(WAIT_MS // 50):
            if held:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("never: a request that is held")

    @contextmanager
    def holding(self, pattern: str) -> Iterator[list[Route]]:
        """Keep requests waiting.

        :param pattern: of their addresses.
        :return: the requests so far. What nobody has answered in the end fails: else Playwright would wait for ever.
        """
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        self.page.route(pattern, hold)
        try:
            yield held
        finally:
            self.page.unroute(pattern, hold)
            for route in held:
                with suppress(Error):  # it was answered, or the page has given it up
                    route.abort()
                with suppress(Error):  # only in the latter case it is still open
                    route.fallback()


@cache
def _browser() -> Browser:
    """Start the Chromium of this process, of which Playwright allows one at a time; it ends with the process."""
    program = shutil.which("chromium")
    assert program, "Debian's package chromium is missing"
    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
    atexit.register(browser.close)
    return browser


class Visitor:
    """Visits to a console in the Chromium of this process; each begins with an empty profile.

    :param url: of the console, without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def visit(self, width: str = "desk", **like: Any) -> Iterator[Visit]:
        """A visit by somebody.

        :param width: one of WIDTHS. :param like: what else his browser is like: ``locale``, ``color_scheme``.
        """
        wide, high = WIDTHS[width]
        context = _browser().new_context(viewport={"width": wide, "height": high}, **like)
        try:
            yield Visit(context, self._url)
        finally:
            context.close()


def serious_violations(page: Page) -> list[str]:
    """What axe-core finds on a page that keeps people from using it, one line each."""
    page.evaluate(_axe())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:120]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
