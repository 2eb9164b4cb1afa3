"""The program ``aiohttp-cache``: what begins it, and is there before all that it imports.

A package of its own, since Ctrl-C may come while the cache itself is being imported: that takes a busy machine seconds.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["main"]

INTERRUPTED: Final = 130  # as shells have it of a program that was ended by SIGINT


def main() -> int:
    """Run the command line of this process, and return its exit code."""
    try:
        from aiohttp_cache_di.cli.main import main as run
    except KeyboardInterrupt:
        print("\naiohttp-cache: interrupted", file=sys.stderr)
        return INTERRUPTED
    return run()
