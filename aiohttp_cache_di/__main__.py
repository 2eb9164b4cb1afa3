"""``python -m aiohttp_cache_di``."""

from __future__ import annotations

import sys

from aiohttp_cache_di.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
