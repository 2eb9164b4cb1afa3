"""What other threads may do at any step of a function, done at every step, one after the other."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["at_each_line", "at_each_step", "at_line", "in_loop_that_ends", "in_thread"]

OURS = "/aiohttp_cache_di/"
TABLES = ("/weakref.py", "/_weakrefset.py")


@contextmanager
def at_each_line(meanwhile: Callable[[], object]) -> Generator[None]:
    """Call *meanwhile* before each line of the package, and of the standard library's weak tables, that runs."""
    with _at_each("line", meanwhile):
        yield


@contextmanager
def at_each_step(meanwhile: Callable[[], object]) -> Generator[None]:
    """As `at_each_line`, but before each instruction of the interpreter.

    With a GIL, another thread may run before some of them only; without one, before each. So this finds, with every
    interpreter, what only the GIL keeps right.
    """
    with _at_each("opcode", meanwhile):
        yield


@contextmanager
def _at_each(wanted: str, meanwhile: Callable[[], object]) -> Generator[None]:
    before = sys.gettrace()

    def step(frame: FrameType, event: str, argument: object) -> Any:
        file = Path(frame.f_code.co_filename).as_posix()
        if OURS not in file and not file.endswith(TABLES):
            return None
        if not frame.f_trace_opcodes and wanted == "opcode":
            frame.f_trace_opcodes = True
            sys.settrace(step)  # CPython 3.12.1 sees that a frame traces instructions only now
        if event == wanted:
            sys.settrace(None)
            try:
                meanwhile()
            finally:
                sys.settrace(step)
        return step

    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def at_line(number: int, meanwhile: Callable[[], object]) -> Generator[list[int]]:
    """As `at_each_line`, but only before the line with this *number*; yields a list that has it once it has come."""
    lines, came = count(), list[int]()

    def step() -> None:
        if next(lines) == number:
            came.append(number)
            meanwhile()

    with at_each_line(step):
        yield came


def in_thread(work: Callable[[], object]) -> Callable[[], None]:
    """A function that runs *work* in another thread, and waits for its end."""

    def run() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    return run


def in_loop_that_ends(work: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.AbstractEventLoop:
    """Run *work* in an event loop of another thread, and return that loop, closed; its tasks are not cancelled."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        loop.run_until_complete(work())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return loop
