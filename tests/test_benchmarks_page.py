"""The page about what the cache costs shows what was measured."""

from __future__ import annotations

import json

from benchmarks.readme import PAGE, RESULTS, filled
from benchmarks.report import judged_again


def test_the_figures_of_the_page_are_those_of_the_run_that_was_written_down() -> None:
    page, data = PAGE.read_text(), json.loads(RESULTS.read_text())
    assert filled(page, judged_again(data)) == page
    assert not data["quick"]
