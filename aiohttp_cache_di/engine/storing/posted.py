"""Storing a response to POST that, as it says itself, answers GET for the same URL, too (RFC 9110 §9.3.3)."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self
from weakref import ref

from aiohttp import ClientResponse, ClientSession

from aiohttp_cache_di import policy
from aiohttp_cache_di.engine.flights import Flight
from aiohttp_cache_di.engine.hop import Hop
from aiohttp_cache_di.engine.lookup import Lookup
from aiohttp_cache_di.engine.notes import note_question_failure
from aiohttp_cache_di.engine.origin import Sending
from aiohttp_cache_di.engine.questions.question import Questions
from aiohttp_cache_di.engine.storing.arriving import store_when_whole
from aiohttp_cache_di.rfc9111.messages import Request

__all__ = ["Posted"]

logger: logging.Logger = logging.getLogger(__name__)


class Posted:
    """One such POST request: use it in a ``with`` statement around sending, invalidating and `store`.

    Inside the ``with``, it counts as a GET request under way, so that its response is not stored if another request has
    changed the resource meanwhile. Raises nothing.

    Args:
        hop: the POST request.
        questions: makes the question of the corresponding GET request.
        purges: see `Sending.of`.
    """

    def __init__(self, hop: Hop, questions: Questions, purges: int) -> None:
        lookup = hop.lookup
        self._owner: ref[ClientSession] = hop.call.session
        self._flights = lookup.runtime.flights
        self._sending: Sending | None = None
        self._lookup: Lookup | None = None
        self.flight: Flight | None = None
        """That of the GET request which it counts as; None if there is no such request."""
        try:
            asked = lookup.question.request.url
            question, arguments = questions.as_get(hop.request, hop.call.wishes, lookup.key_arguments, url=asked)
            self._lookup = Lookup(question, lookup.backend, lookup.runtime, arguments)
            self._sending = Sending.of(hop, purges)
        except Exception as error:
            note_question_failure(error)

    def __enter__(self) -> Self:
        if self._lookup is not None:
            self.flight = self._flights.start(self._lookup.question.key)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.flight is not None:
            self.flight.__exit__(exc_type, error, traceback)

    def store(self, request: Request, response: ClientResponse) -> None:
        """Store *response* to *request* for GET, if it allows that, once its last byte has arrived.

        Call it after the entries that the POST request invalidates have been deleted.
        """
        lookup, flight, sending = self._lookup, self.flight, self._sending
        if lookup is None or flight is None or sending is None or not flight.store_allowed:
            return
        try:
            reply = sending.reply(response)
            found = policy.on_post_response(request, reply.head, lookup.question.rules)
            if found is not None:
                store_when_whole(lookup, reply, found[1], flight, (), self._owner)
        except Exception:
            logger.exception("A response to POST could not be stored for GET")
