"""A program that runs with a package some of whose names have changed, as they may in a future release.

``python -m tests.renaming PACKAGE NAMES [MODULES]`` imports the pure Python modules of PACKAGE (or only MODULES) with
each of NAMES in them replaced, and then sends typical requests through a cached session and a plain one. It prints, as
JSON, what the callers got, how many requests reached the origin and what was logged. Commas separate names and modules.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib.abc
import importlib.util
import json
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.programs import started

__all__ = ["renamed"]

TIMEOUT_S = 10.0
LARGE = b"0123456789abcdef" * 40_000


class Renaming(importlib.abc.MetaPathFinder):
    """Finds the modules of *package*, and replaces *names* in their source."""

    def __init__(self, package: str, names: str, modules: str = "") -> None:
        self.package = package
        self.modules = frozenset(f"{package}.{module}" for module in modules.split(",") if module)
        self.pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names.split(',')))})\b")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find *fullname* if it belongs to the package."""
        if fullname.partition(".")[0] != self.package:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            spec.loader = _Loader(fullname, spec.origin, self)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, renaming: Renaming) -> None:
        super().__init__(fullname, path)
        self.renaming = renaming

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text()
        if self.renaming.modules and fullname not in self.renaming.modules:
            return super().get_code(fullname)
        renamed, times = self.renaming.pattern.subn(r"\g<0>_of_old", source)
        return compile(renamed, self.path, "exec") if times else super().get_code(fullname)  # compiled already


class Logged(logging.Handler):
    """Collects what the package logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect *record*."""
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def main(package: str, names: str, modules: str = "") -> None:
    """Run the program, and print the outcome as JSON."""
    os.environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    sys.meta_path.insert(0, Renaming(package, names, modules))
    logged = Logged()
    for logger in ("aiohttp_cache_di", "aiohttp", "asyncio"):
        logging.getLogger(logger).addHandler(logged)
    told: dict[str, Any] = {"wrong": [], "asked": {}, "logged": logged.lines, "import_error": ""}
    try:
        importlib.import_module("aiohttp_cache_di")
    except ImportError as error:
        told["import_error"] = str(error)
    else:
        asyncio.run(use_sessions(told))
    print(json.dumps(told))


async def use_sessions(told: dict[str, Any]) -> None:
    """Send every request three times through a cached session and through a plain one."""
    from aiohttp import ClientSession

    from aiohttp_cache_di import CacheBackend, CachedSession, CacheMiddleware
    from tests.origin import Origin

    async with Origin() as origin:
        async with CachedSession(cache_control=True) as session:
            await ask(session, origin, "session", told)
        async with ClientSession(middlewares=(CacheMiddleware(CacheBackend(cache_control=True)),)) as session:
            await ask(session, origin, "middleware", told)


async def ask(session: Any, origin: Any, way: str, told: dict[str, Any]) -> None:
    """Send every request three times, and compare each text with the right one."""
    for path, (script, text, options) in scripts().items():
        url = origin.on(f"/{way}{path}", script)
        for number in range(3):
            try:
                async with asyncio.timeout(TIMEOUT_S), session.request("GET", url, **options) as response:
                    got: Any = await response.read() if text is None else await response.text()
                    right = LARGE if text is None else text
                    if got != right:
                        told["wrong"].append(f"{way} {path} {number}: {len(got)} of {len(right)}: {got[:50]!r}")
            except BaseException as error:
                told["wrong"].append(f"{way} {path} {number}: {type(error).__name__}: {error}")
        told["asked"][f"{way} {path}"] = origin.hits_of(f"/{way}{path}")
    await ask_for_less(session, origin, way, told)


def scripts() -> dict[str, tuple[Any, str | None, dict[str, Any]]]:
    """By path: the origin's script, the right text, and the arguments of the request."""
    from aiohttp import MultipartWriter

    from tests.origin import answer, chunked

    coded = gzip.compress(b"text" * 1000)
    in_chunks = {"Content-Length": None, "Transfer-Encoding": "chunked"}

    async def slowly(request: Any) -> AsyncIterator[bytes]:
        yield answer(headers=in_chunks)
        for start in range(0, len(LARGE), 100_000):
            yield chunked(LARGE[start : start + 100_000], end=False)
        yield chunked()

    form = MultipartWriter()
    form.append("field")
    return {
        "/small": (answer("text"), "text", {}),
        "/empty": (answer(""), "", {}),
        "/large": (answer(LARGE), None, {}),
        "/chunked": (slowly, None, {}),
        "/gzip": (answer(coded, headers={"Content-Encoding": "gzip"}), "text" * 1000, {}),
        "/cookies": (answer("text", headers={"Set-Cookie": "a=b"}), "text", {}),
        "/headers": (answer("text"), "text", {"headers": {"Authorization": "secret", "Accept": "text/plain"}}),
        "/form": (answer("text"), "text", {"data": form}),
        "/validated": (validated, "text", {}),
    }


def validated(request: Any) -> bytes:
    """A response that is stale at once; a validation of it gets a 304."""
    from tests.origin import answer

    fields = {"Cache-Control": "max-age=0", "ETag": '"1"'}
    if "If-None-Match" in request.headers:
        return answer(status=304, headers={**fields, "Set-Cookie": "c=d", "Content-Length": None})
    return answer("text", headers=fields)


async def ask_for_less(session: Any, origin: Any, way: str, told: dict[str, Any]) -> None:
    """Request bodies that are cut short: each request must fail, and none of them may be stored."""
    from aiohttp import ClientError

    from tests.origin import CLOSE, answer

    coded = gzip.compress(os.urandom(20_000))

    async def cut(request: Any) -> AsyncIterator[bytes]:
        yield answer(headers={"Content-Length": "1000"}) + b"x" * 400
        yield CLOSE

    cases: dict[str, Any] = {
        "/cut": cut,
        "/cut-gzip": answer(coded[:10_000], headers={"Content-Encoding": "gzip"}),
    }
    for path, script in cases.items():
        url = origin.on(f"/{way}{path}", script)
        for number in range(2):
            try:
                async with asyncio.timeout(TIMEOUT_S), session.get(url) as response:
                    await response.read()
            except ClientError:
                pass
            except BaseException as error:
                told["wrong"].append(f"{way} {path} {number}: {type(error).__name__}: {error}")
        if (asked := origin.hits_of(f"/{way}{path}")) != 2:
            told["wrong"].append(f"{way} {path}: a body that was cut came from the cache ({asked} requests)")


async def renamed(package: str, *names: str, modules: str = "") -> dict[str, Any]:
    """Run the program with *names* of *package* replaced, and return what it printed."""
    command, pipe = (sys.executable, "-m", "tests.renaming", package, ",".join(names), modules), asyncio.subprocess.PIPE
    async with started(*command, stdout=pipe, stderr=pipe) as process:
        out, errors = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, errors.decode()
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    return told


if __name__ == "__main__":
    main(*sys.argv[1:])
