"""Arguments that nobody takes: refused, and the nearest one named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["refuse_unknown"]


def refuse_unknown(owner: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise TypeError for the first option of *given* that is not *known*, naming it and its nearest neighbour."""
    names = frozenset(known)
    for name in given:
        if name not in names:
            from difflib import get_close_matches  # which takes longer to import than most of this package

            near = get_close_matches(name, sorted(names), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(names))}"
            raise TypeError(f"{owner} got an unexpected option {name!r}{hint}")
