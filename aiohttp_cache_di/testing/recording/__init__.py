"""Requests to upstreams, recorded in a file and answered from there: what ``@pytest.mark.recorded`` is made of.

- ``cassette``: the recorder itself, in the door to the origin (`aiohttp_cache_di.engine.door`).
- ``options``: what `recorded` and the mark can be told.
- ``keeping/``: recordings as files.
- ``hiding/``: what is taken out before anything is compared or written.
- ``comparing/``: whether a recorded request is the one that is asked.
- ``ageing``: a recorded response, as old as it was when it was recorded.
- ``bodies``: a body as JSON, text or base64, whichever can be read and comes back byte for byte.
- ``exchanges``: a request and its response, as they are written: what all others work on.

A response is always delivered by the server of `aiohttp_cache_di.testing.delivery`, on the run that records it as on
later ones, so that a test sees the same on both.
"""

from __future__ import annotations

from aiohttp_cache_di.testing.recording.cassette import MODES, Cassette, Mode, recorded
from aiohttp_cache_di.testing.recording.hiding.filters import Filters

__all__ = ["MODES", "Cassette", "Filters", "Mode", "recorded"]
