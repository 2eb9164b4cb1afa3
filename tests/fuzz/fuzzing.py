"""How long the fuzzers run: some seconds each among the other tests, and as long as one likes by ``make fuzz``."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import HealthCheck, settings

__all__ = ["EXAMPLES", "fuzzed"]

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""How many examples each fuzzer tries; 0 for the fuzzer's own number."""


def fuzzed(examples: int) -> settings:
    """The settings of a fuzzer that tries *examples* examples unless `EXAMPLES` is set."""
    return settings(
        max_examples=EXAMPLES or examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
