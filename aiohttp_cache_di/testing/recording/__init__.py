"""Requests to upstreams, recorded in a file and answered from there: what ``@pytest.mark.recorded`` is made of.

- ``exchanges``: a request and its response, as they are written: the one thing that all others speak of.
- ``bodies``: a body as JSON, text or base64, whichever can be read and comes back byte for byte.
- ``files``: our own form, in YAML, and which form a file has; ``foreign``: VCR cassettes and HAR files;
  ``places``: the file or archive that a recording is in, and what lies beside it.
- ``filters``: what is taken out before anything is compared or written.
- ``matching``: whether a recorded request is the one that is asked, and what differs from the nearest.
- ``merging``: a new recording that keeps what has not changed of the old one as it is.
- ``cassette``: the recorder itself, in the door to the origin (`aiohttp_cache_di.engine.door`).

A response is always delivered by the server of `aiohttp_cache_di.testing.delivery`, on the run that records it as on
later ones, so that a test sees the same on both.
"""

from __future__ import annotations

from aiohttp_cache_di.testing.recording.cassette import MODES, Cassette, Mode, recorded
from aiohttp_cache_di.testing.recording.filters import Filters

__all__ = ["MODES", "Cassette", "Filters", "Mode", "recorded"]
