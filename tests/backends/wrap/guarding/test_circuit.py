"""The state of a circuit, as it is shown."""

from __future__ import annotations

import time
from functools import partial
from itertools import count

import pytest

from aiohttp_cache_di.backends.wrap.guarding.circuit import THRESHOLD, Circuit
from aiohttp_cache_di.telemetry import CacheStats
from tests.interleaving import at_line


def probe(circuit: Circuit, *, succeeds: bool) -> None:
    if circuit.begin_probe():
        circuit.end_probe()
        if succeeds:
            circuit.succeeded(probe=True)
        else:
            circuit.failed(probe=True)


def opened(stats: CacheStats) -> Circuit:
    circuit = Circuit(time.monotonic, partial(stats.set_circuit, "read"))
    for _ in range(THRESHOLD):
        circuit.failed(probe=False)
    circuit.retry_now()
    return circuit


def test_a_circuit_that_has_closed_is_not_probed() -> None:
    stats = CacheStats()
    circuit = opened(stats)
    shown = [(stats.circuit, circuit.state)]
    circuit.succeeded(probe=True)
    assert not circuit.begin_probe()
    shown.append((stats.circuit, circuit.state))
    assert shown == [("open", "open"), ("closed", "closed")]


@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("closes", [True, False])
def test_the_state_shown_is_that_of_the_circuit_whatever_another_thread_does_meanwhile(
    *, succeeds: bool, closes: bool
) -> None:
    line = 0
    for line in count():
        stats = CacheStats()
        circuit = opened(stats)
        other = partial(circuit.succeeded, probe=True) if closes else partial(probe, circuit, succeeds=not succeeds)
        with at_line(line, other) as came:
            probe(circuit, succeeds=succeeds)
        if not came:
            break
        assert stats.circuit == circuit.state, f"line {line}"
    assert line > 10
