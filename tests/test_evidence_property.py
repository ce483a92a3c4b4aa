"""Property: whatever the truth about a device is, nothing that is read wrongly is shown as good, raised or kept."""

from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.evidence_model import EvidenceModelCase, Truth, first_counters, orders, steps, truths


class EvidenceProperty(EvidenceModelCase):
    """A short form of tests_slow.test_evidence_property. Shrinking a failure would take minutes."""

    @settings(max_examples=15, phases=[Phase.generate])
    @given(orders, truths, first_counters, st.lists(steps, max_size=10))
    def test_nothing_wrong_is_good(
        self, order: str, truth: Truth, counters: tuple[int, int, int], happens: list[dict[str, Any]]
    ) -> None:
        self.live(order, truth, counters, happens)
