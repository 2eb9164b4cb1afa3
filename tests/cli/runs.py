"""What runs the command line in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Run"]

Run: TypeAlias = Callable[..., tuple[int, str, str]]
"""Takes arguments; gives the exit status, and what is said on standard output and on standard error."""
