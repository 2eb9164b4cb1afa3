"""Samples of durations for a slower thread: all of a few, an even sample of many."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_KEPT", "Samples"]

MAX_KEPT: Final = 1024  # durations of each name between two collections
MAX_NAMES: Final = 64


class _Sample:
    """Every *stride*-th duration; the stride doubles when there are too many."""

    __slots__ = ("kept", "skip", "stride")

    def __init__(self) -> None:
        self.kept: list[float] = []
        self.stride = 1
        self.skip = 0


class Samples:
    """Samples by name. One thread adds and another takes; a duration that is added at that moment may be lost."""

    def __init__(self) -> None:
        self._samples: dict[str, _Sample] = {}

    def add(self, name: str, seconds: float) -> None:
        """Keep the duration if it falls into the sample."""
        sample = self._samples.get(name)
        if sample is None:
            if len(self._samples) >= MAX_NAMES:
                return
            sample = self._samples[name] = _Sample()
        if sample.skip:
            sample.skip -= 1
            return
        sample.skip = sample.stride - 1
        sample.kept.append(seconds)
        if len(sample.kept) >= MAX_KEPT:
            sample.kept = sample.kept[::2]
            sample.stride *= 2

    def take(self) -> dict[str, list[float]]:
        """The durations kept since the last call."""
        taken, self._samples = self._samples, {}
        return {name: sample.kept for name, sample in list(taken.items())}
