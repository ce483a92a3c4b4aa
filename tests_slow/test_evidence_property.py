"""The property of tests.test_evidence_property, with more and longer lives of devices."""

from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.evidence_model import EvidenceModelCase, Truth, first_counters, orders, steps, truths


class EvidenceProperty(EvidenceModelCase):
    @settings(max_examples=150, phases=[Phase.generate])
    @given(orders, truths, first_counters, st.lists(steps, max_size=16))
    def test_nothing_wrong_is_good(
        self, order: str, truth: Truth, counters: tuple[int, int, int], happens: list[dict[str, Any]]
    ) -> None:
        self.live(order, truth, counters, happens)
