"""Record responses of upstreams in a file, and replay them from it: the machinery of ``@pytest.mark.recorded``.

- ``cassette``: the recorder, which intercepts requests to the origin (`aiohttp_cache_di.engine.taps`).
- ``options``: the options of `recorded` and of the mark.
- ``keeping/``: reading and writing files of recordings.
- ``hiding/``: removing secrets before anything is compared or written.
- ``recordings``: the recordings of a file, found by the requests that they answer.
- ``comparing/``: which requests are the same, and how two differ.
- ``ageing``: adjusting the dates of a replayed response, so that it is as old as it was when recorded.
- ``bodies``: writing a body as JSON, text or base64, so that it can be read and is restored byte for byte.
- ``exchanges``: a request and its response, as they are recorded.

The server of `aiohttp_cache_di.testing.delivery` sends the response both when it is recorded and when it is replayed,
so that a test sees the same in both runs.
"""

from __future__ import annotations

from aiohttp_cache_di.testing.recording.cassette import MODES, Cassette, Mode, recorded
from aiohttp_cache_di.testing.recording.hiding.filters import Filters

__all__ = ["MODES", "Cassette", "Filters", "Mode", "recorded"]
