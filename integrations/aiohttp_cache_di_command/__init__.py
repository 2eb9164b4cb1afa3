"""The entry point of the program ``aiohttp-cache``.

It is a package of its own so that it can handle Ctrl-C while the cache is being imported, which may take seconds on a
busy machine.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["main"]

INTERRUPTED: Final = 130  # the exit status that shells give to a program ended by SIGINT


def main() -> int:
    """Run the command line of this process, and return its exit code."""
    try:
        from aiohttp_cache_di.cli.main import main as run
    except KeyboardInterrupt:
        print("\naiohttp-cache: interrupted", file=sys.stderr)
        return INTERRUPTED
    return run()
