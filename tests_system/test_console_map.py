"""The console's map, where its ground comes from somebody else."""

import re

from tests_system.browser import Visit
from tests_system.console_case import ConsoleTestCase
from tests_system.tile_server import TILE_PX

DRAWN = f"[...document.querySelectorAll('.tiles img')].every((one) => one.naturalWidth === {TILE_PX})"

BARE = """(() => {
    const map = document.querySelector('.map').getBoundingClientRect();
    const tiles = [...document.querySelectorAll('.tiles img')].map((one) => one.getBoundingClientRect());
    const covered = ([x, y]) => tiles.some((one) => one.left <= x && x <= one.right && one.top <= y && y <= one.bottom);
    const shares = [0.01, 0.25, 0.5, 0.75, 0.99];
    const places = shares.flatMap((x) => shares.map((y) => [map.left + x * map.width, map.top + y * map.height]));
    return places.filter((one) => !covered(one));
})()"""
"""Places of the map under which there is no tile."""


class TilesTests(ConsoleTestCase):
    """``[web] tiles`` names a server."""

    devices = 2
    tiles = True

    def drawn(self, visit: Visit, zoom: int) -> None:
        """Wait until the map is drawn of tiles of this zoom, wherever one looks."""
        visit.until(f"!!document.querySelector('.tiles img[src*=\"/{zoom}/\"]') && {DRAWN}", f"tiles of zoom {zoom}")
        self.assertEqual(visit.page.evaluate(BARE), [])

    def test_ground_of_tiles(self) -> None:
        server = self.world.tiles
        assert server is not None
        with self.visitor.visit() as visit:
            page = visit.open().sign_in(self.world.tokens["viewer"]).page
            page.wait_for_selector(".rows .row")
            self.assertEqual(server.asked, [], "asked before anybody looks at the map")
            visit.open("#/map?at=20,30,5")
            self.drawn(visit, 5)
            page.focus(".map")
            page.keyboard.press("+")
            self.drawn(visit, 6)
            page.keyboard.press("ArrowRight")
            self.drawn(visit, 6)
            self.assertEqual(page.inner_text(".credit"), "© Somebody")
            page.click("[aria-label='Show all']")
            page.wait_for_selector(".mark")
            self.assertUsable(visit, "the map on tiles")
            self.assertEqual(visit.errors, [])
            tile = re.compile(re.escape(server.url) + r"/\d+/\d+/\d+\.png")
            self.assertEqual([one for one in visit.strangers if not tile.fullmatch(one)], [], "others were asked")
            self.assertEqual(server.told, {(f"{self.world.url}/", None)}, "it learns whose page it is, and no more")
