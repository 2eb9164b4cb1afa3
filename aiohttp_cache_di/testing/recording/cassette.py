"""The recorder: it answers requests to upstreams from a file, or sends them and records the responses.

The mode decides which::

    mode           recorded already     not recorded       the file at the end
    none           from the file        fails              unchanged
    once           from the file        fails, unless      unchanged, or new
                                        there is no file
    new_episodes   from the file        asks upstream      with new requests added
    all            asks upstream        asks upstream      the requests of this run, and all others of the old file
    rewrite        asks upstream        asks upstream      the requests of this run
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Literal, Self, TypeAlias, Unpack, get_args

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, hdrs

from aiohttp_cache_di._aiohttp import is_decoded
from aiohttp_cache_di.engine.taps import through_tap
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing.calls import AskedFor, UnrecordedRequestError, asked_for
from aiohttp_cache_di.testing.codings import decoded
from aiohttp_cache_di.testing.delivery import Delivery, is_answered
from aiohttp_cache_di.testing.recording.ageing import canned, replayed
from aiohttp_cache_di.testing.recording.comparing.matching import Key
from aiohttp_cache_di.testing.recording.exchanges import Answered, Asked, Exchange, value_of
from aiohttp_cache_di.testing.recording.keeping import files
from aiohttp_cache_di.testing.recording.keeping.merging import merged
from aiohttp_cache_di.testing.recording.options import RecordingOptions, RecordingRules, rules_of
from aiohttp_cache_di.testing.recording.recordings import Recordings

__all__ = ["MODES", "Cassette", "Mode", "recorded"]

Mode: TypeAlias = Literal["none", "once", "new_episodes", "all", "rewrite"]
MODES: Final[tuple[str, ...]] = get_args(Mode)
_HOW: Final = "pytest --record-mode=new_episodes records it"
_INTO_OUR_OWN: Final = (
    'which is only read; @pytest.mark.recorded("NAME.yaml") and --record-mode=once record the test anew'
)
_INTO_YAML: Final = "recordings are written only to files that end in .yaml or .yml; give such a name"
_ENDLESS: Final = "text/event-stream"


class Cassette:
    """A file of recordings, which is replayed and extended.

    A context manager, synchronous or asynchronous. After an exception the file is left unchanged.
    """

    def __init__(self, path: Path, mode: Mode = "none", rules: RecordingRules | None = None) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"record mode {mode!r}: use one of {', '.join(MODES)}")
        self.path = path
        self.mode: Mode = mode
        self.rules: RecordingRules = RecordingRules() if rules is None else rules
        self.misses: list[str] = []
        """The messages of the errors about requests that are not recorded."""
        self.of_this_run: Counter[Key] = Counter()
        """How many recordings of each request other tests of this run have made here: these are replayed."""
        self._makes_anew = mode in ("all", "rewrite")
        self._writes = False
        self._is_new = True
        self._form = ""
        self._old = Recordings((), self.rules)
        self._new: list[Exchange | None] = []
        self._replayed: Counter[Key] = Counter()
        self._delivery = Delivery()
        self._stack = ExitStack()

    # ---- opening and closing

    def open(self) -> None:
        """Read the file, and intercept requests from now on."""
        with suppress(FileNotFoundError):
            self._form, found = files.load(self.path)
            self._old = Recordings([self.rules.filters.exchange(one) for one in found], self.rules)
            self._is_new = False
        self._writes = self._makes_anew or (
            self.mode != "none" and (self._is_new or (self.mode == "new_episodes" and not self._form))
        )
        if self._writes and not files.may_be_written(self.path):
            form = f" is {self._form}, which is only read" if self._form else " cannot be recorded into"
            raise ConfigurationError(f"{self.path}{form}; {_INTO_YAML}")
        self._stack.callback(self._delivery.close)
        self._stack.enter_context(through_tap(self._answer))

    def close(self, *, is_kept: bool = True) -> None:
        """Stop intercepting requests, and write new recordings if *is_kept*."""
        self._stack.close()
        new = [exchange for exchange in self._new if exchange is not None]
        if not is_kept or not (new or self.mode == "rewrite"):
            return
        old, key_of = self._old.exchanges, self._old.key_of
        self.of_this_run |= Counter(map(key_of, new))
        if self._makes_anew:
            written = merged(old, new, key_of, volatile=self.rules.volatile, keeps_unasked=self.mode == "all")
        else:
            written = [*old, *new]
        if written != old or self._form:
            files.save(self.path, written)

    @property
    def begins_anew(self) -> bool:
        """Whether the file is made by this, or replaced without keeping anything of it."""
        return self.mode == "rewrite" or (self.mode == "once" and self._is_new)

    @property
    def is_without_requests(self) -> bool:
        """Whether this would have recorded a new file, but no request was sent to an upstream."""
        return self._writes and self._is_new and not self._new

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        self.close(is_kept=exc_type is None)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.open)
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        await asyncio.to_thread(self.close, is_kept=exc_type is None)

    # ---- intercepting

    async def _answer(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        if is_answered(request):
            return await handler(request)
        call = await asked_for(request)
        asked = self.rules.filters.asked(_asked(call))
        if hdrs.UPGRADE in request.headers:
            raise self._missed(f"{asked.url} is a web socket, which cannot be recorded; replace it in the test")
        key = self._old.key_for(asked)
        exchange = self._old.next(key) if not self._makes_anew or self._replayed[key] < self.of_this_run[key] else None
        if exchange is not None:
            if self._makes_anew:
                self._replayed[key] += 1
                self._new.append(exchange)  # asked for: it keeps its place
            return await self._delivery.answer(request, handler, replayed(exchange, now=time.time()))
        if not self._writes:
            raise self._missed(self._unrecorded(asked, key))
        place = len(self._new)  # recordings are in the order of requests, not of responses
        self._new.append(None)
        asked_at = time.time()
        response = await handler(request)
        answered = await self._received(response)
        self._new[place] = self.rules.filters.exchange(Exchange(_asked(call), answered, asked_at))
        await request.close()
        return await self._delivery.answer(request, handler, canned(answered, answered.headers))

    async def _received(self, response: ClientResponse) -> Answered:
        """Read *response* to its end."""
        content_type = response.headers.get(hdrs.CONTENT_TYPE, "")
        if content_type.lower().startswith(_ENDLESS):
            response.close()
            raise ConfigurationError(
                f"{response.url} sends a response without an end ({content_type}), which cannot be recorded"
            )
        fields = tuple(
            (name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in response.raw_headers
        )
        is_coded = hdrs.CONTENT_ENCODING in response.headers and not is_decoded(response)
        body = await response.read()
        plain = decoded(body, value_of(fields, "content-encoding")) if is_coded and body else None
        return Answered(
            response.status,
            response.reason or "",
            fields,
            body if plain is None else plain,
            is_coded=is_coded and plain is None and bool(body),
        )

    def _missed(self, message: str) -> UnrecordedRequestError:
        """Note that a request cannot be answered, which fails the test even if the app handles the error."""
        self.misses.append(message)
        return UnrecordedRequestError(message)

    def _unrecorded(self, asked: Asked, key: Key) -> str:
        said = f"{asked.method} {asked.url} is not recorded in {self.path}"
        if self._is_new:
            how = "pytest --record-mode=once records it" if files.may_be_written(self.path) else _INTO_YAML
            return f"{said}: there is no such file; {how}"
        times = self._old.times(key)
        if times:
            often = "once" if times == 1 else f"{times} times"
            return f"{said} so often: it is recorded {often}, and asked for once more; {self._how()}"
        near = self._old.nearest(key)
        if near is None:
            return f"{said}, which is empty; {self._how()}"
        example, apart = near
        lines = "".join(f"\n  - {line}" for line in apart)
        return f"{said}; {self._how()}\nThe nearest is {example.method} {example.url}, from which it differs:{lines}"

    def _how(self) -> str:
        """How to record a request that is missing."""
        if not self._form:
            return _HOW if files.may_be_written(self.path) else _INTO_YAML
        in_its_place = "; --record-mode=rewrite does so in its place" if files.may_be_written(self.path) else ""
        return f"this is {self._form}, {_INTO_OUR_OWN}{in_its_place}"


def recorded(path: str | Path, mode: Mode = "none", **options: Unpack[RecordingOptions]) -> Cassette:
    """Replay responses of upstreams from the file *path*, or record them there: ``with recorded("rates.yaml"): …``.

    Args:
        path: a file in our YAML; or a VCR cassette or a HAR file, which are only read.
        mode: ``none``, ``once``, ``new_episodes``, ``all`` or ``rewrite``.
        options: as in `RecordingOptions`.

    Raises:
        TypeError: an option is unknown or has the wrong type.
        ConfigurationError: *path* is not a recording, or *mode* would write to a format that is only read.
    """
    if not isinstance(path, str | Path):  # a caller may be untyped
        raise TypeError(f"recorded: {path!r} is not the path of a file")
    return Cassette(Path(path), mode, rules_of(options))


def _asked(call: AskedFor) -> Asked:
    headers = tuple((str(name), value) for name, value in call.headers.items())
    return Asked(call.method, str(call.url), headers, call.body)
