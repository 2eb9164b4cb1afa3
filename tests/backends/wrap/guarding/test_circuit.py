"""The state of a circuit, as it is shown."""

from __future__ import annotations

import time
from functools import partial
from itertools import count

import pytest

from aiohttp_cache_di.backends.wrap.guarding.circuit import THRESHOLD, Circuit
from aiohttp_cache_di.telemetry import CacheStats
from tests.interleaving import at_line
from tests.posix import in_forked_child, posix_only


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


@posix_only
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the fork is what is tested
def test_a_forked_child_probes_though_its_parent_was_probing() -> None:
    circuit = opened(CacheStats())
    assert circuit.begin_probe()

    def probes() -> bool:
        circuit.end_probe()  # as a task of the parent's that the child's garbage collection ends
        return circuit.begin_probe()

    assert in_forked_child(probes)
    assert in_forked_child(circuit.begin_probe)
    assert not circuit.begin_probe()


def test_of_two_threads_one_at_a_time_probes() -> None:
    line = 0
    for line in count():
        circuit, begun = opened(CacheStats()), list[bool]()

        def begin(circuit: Circuit = circuit, begun: list[bool] = begun) -> None:
            begun.append(circuit.begin_probe())

        with at_line(line, begin) as came:
            begin()
        assert begun.count(True) == 1, f"line {line}"
        if not came:
            break
    assert line > 2


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
