"""The demo's table: rows are printed as they come."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FROM_CACHE", "Row", "outcome", "print_header", "print_row"]

_WIDTHS: Final = (12, 9, 20, 13, 13, 9)


class Row(NamedTuple):
    """One request: its service and worker, its outcome, and how many requests the origin got for it."""

    service: str
    worker: str
    request: str
    outcome: str
    origin_hits: str
    time: str


FROM_CACHE: Final = frozenset({"hit", "shared"})
"""The outcomes of requests that were not sent to the origin."""


def outcome(cache_status: str) -> str:
    """The outcome that a Cache-Status (RFC 9211) stands for, in a word."""
    parameters = [part.strip() for part in cache_status.split(";")]
    if "hit" in parameters:
        return "hit"
    if "collapsed" in parameters:  # it waited for the same request of another worker
        return "shared"
    return "revalidated" if "fwd-status=304" in parameters else "miss"


def print_header(title: str) -> None:
    """Print the head of a table."""
    print(f"\n{title}\n")
    print_row(Row("service", "worker", "request", "cache", "origin hits", "time"))
    print_row(Row(*("-" * width for width in _WIDTHS)))


def print_row(row: Row) -> None:
    """Print a row at once, also into a pipe."""
    print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, _WIDTHS, strict=True)).rstrip(), flush=True)
