"""The admin page, which shows the caches of an app, and its JSON API; independent of the web framework.

The adapters in ``integrations/`` mount it: they make an `AdminRequest` of each request, and send the `Reply`. The app
decides who may open the page, by ``authorize=``, before a request gets here. The parts, in the order of a request:

- ``messages`` has the request and the response.
- ``access`` admits requests: local ones by default, none from other sites, changes only with a token.
- ``api`` checks what the adapters are given, and has the endpoints; it calls a function of ``questions`` for each,
  whose parameters ``reading`` checks. ``shapes`` has the structs of the JSON.
- ``recent`` observes each cache and counts in steps of a few seconds. Like all counters, it covers this process only;
  what is stored is read from the store, and is the same in each process.
- ``listing`` keeps the entries that a walk over the store has found, in order, for paging; ``hosts`` adds them up by
  upstream. Requests that need the same walk wait for one.
- ``preview`` shows the head of a response and the beginning of its body as text, without secrets.
- ``page`` puts the files in ``assets`` together into one document. Its script creates text nodes, never markup, and
  the Content-Security-Policy makes browsers enforce that.

The event loop never waits for the store, and every walk over it yields to other tasks.
"""

from __future__ import annotations

from aiohttp_cache_di.admin.api import DEFAULT_PATH, ENDPOINTS, Admin, Endpoint, Name, expect_callable, mount_path
from aiohttp_cache_di.admin.messages import MAX_QUESTION_BYTES, AdminError, AdminRequest, Reply
from aiohttp_cache_di.admin.questions import Session

__all__ = [
    "DEFAULT_PATH",
    "ENDPOINTS",
    "MAX_QUESTION_BYTES",
    "Admin",
    "AdminError",
    "AdminRequest",
    "Endpoint",
    "Name",
    "Reply",
    "Session",
    "expect_callable",
    "mount_path",
]
