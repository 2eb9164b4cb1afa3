"""A page to look into the caches of an app, and the JSON API that it is made of; for any framework.

The adapters in ``integrations/`` mount it: they hand requests on as an `Ask` and send each `Reply`. Who may come in
is the app's to say, by ``authorize=``, before anything gets here. How the parts move together:

- ``mounting`` checks what the adapters are given, and ``messages`` is what they hand on and send.
- ``door`` lets requests in: local ones where that is the bound, none of other sites' pages, changes by a token.
- ``api`` answers by name (`ENDPOINTS`); ``questions`` has what is asked of one cache, ``shapes`` the structs of
  its JSON, and ``reading`` checks what is asked for.
- ``recent`` observes each cache, and counts by steps of some seconds. It knows this process, as counters do; what is
  stored is asked of the store, and is the same in each.
- ``listing`` keeps what a walk over the store has found in order, so that pages can be cut out of it; ``hosts`` adds
  it up by upstream.
- ``preview`` shows head and beginning of a response as text, less secrets.
- ``page`` makes one document of what is in ``assets``. Its script makes text nodes, and never markup: the policy that
  it is sent with has browsers refuse that.

Nothing of a store is read in the event loop, and no walk holds that up: each makes way for others.
"""

from __future__ import annotations

from aiohttp_cache_di.admin.api import ENDPOINTS, Admin, Endpoint, Name
from aiohttp_cache_di.admin.messages import MAX_QUESTION_BYTES, AdminError, Ask, Reply
from aiohttp_cache_di.admin.mounting import DEFAULT_PATH, expect_callable, mount_path
from aiohttp_cache_di.admin.questions import Session

__all__ = [
    "DEFAULT_PATH",
    "ENDPOINTS",
    "MAX_QUESTION_BYTES",
    "Admin",
    "AdminError",
    "Ask",
    "Endpoint",
    "Name",
    "Reply",
    "Session",
    "expect_callable",
    "mount_path",
]
