"""docs/metrics.md is what the code says."""

from twisted.trial.unittest import SynchronousTestCase

from cmmd.web.metrics.device_families import OWN
from cmmd.web.metrics.families import FAMILIES
from cmmd.web.metrics.metrics_doc import document
from tests.support import REPOSITORY


class DocumentTests(SynchronousTestCase):
    def test_it_is_up_to_date(self) -> None:
        written = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
        self.assertEqual(written, document(), "python -m cmmd.web.metrics.metrics_doc > docs/metrics.md")

    def test_every_metric_is_in_it(self) -> None:
        text = document()
        for name in [*(family.exposed for family in FAMILIES), *(family.name for family in OWN)]:
            self.assertIn(f"`{name}`", text)
