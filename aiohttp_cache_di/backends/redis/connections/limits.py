"""Limits of what is under way on one connection: how many commands, and how long a server may owe their replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["MAX_WINDOW", "MIN_WINDOW", "WIDE_WINDOW", "WINDOW_BYTES", "Silence", "Window"]

MAX_WINDOW: Final = 1024
MIN_WINDOW: Final = 16
WIDE_WINDOW: Final = MAX_WINDOW - 3  # where rounding keeps the moving average from growing further
GRACE_S: Final = 0.01
WINDOW_BYTES: Final = 32 * 1024 * 1024  # of replies under way, by estimate: the server has to keep them in memory


class Window:
    """The number of commands under way that is allowed: fewer if replies are large.

    It is a moving average of how many replies of the latest sizes fit `WINDOW_BYTES`.
    """

    __slots__ = ("partial_bytes", "size")

    def __init__(self) -> None:
        self.size: int = MAX_WINDOW // 4
        """How many commands may be under way."""
        self.partial_bytes: int = 0
        """How much has arrived of a reply that is not complete, and of what was sent before it in the same packet."""

    def received(self, size: int, count: int) -> None:
        """Note that *size* bytes have arrived, with the ends of *count* replies."""
        self.partial_bytes += size
        if count:
            fitting = WINDOW_BYTES * count // self.partial_bytes
            if fitting < MAX_WINDOW or self.size < WIDE_WINDOW:  # else the average would stay the same
                self.size = (3 * self.size + min(max(fitting, MIN_WINDOW), MAX_WINDOW)) // 4
            self.partial_bytes = 0


class Silence:
    """Calls *over* when a server that owes replies has sent nothing of use for *timeout_s* seconds.

    One timer is started with a command and looks again until no reply is owed; hearing from the server only sets a
    time, since a timer for each reply would take longer than the reply itself. A server that seems silent is given
    `GRACE_S` more: if the loop was blocked, its reply has arrived, and is only read now.

    Args:
        timeout_s: None for no limit.
        is_owed: returns whether commands wait.
        over: called once, with *timeout_s*; no further command may be sent then.
    """

    __slots__ = ("_is_owed", "_loop", "_over", "_timeout_s", "_timer", "heard_at")

    def __init__(self, timeout_s: float | None, is_owed: Callable[[], bool], over: Callable[[float], object]) -> None:
        self._timeout_s: float | None = timeout_s
        self.heard_at: float = 0.0
        """Loop time when the server was last heard, or a command sent while none was under way."""
        self._loop = asyncio.get_running_loop()
        self._is_owed = is_owed
        self._over = over
        self._timer: asyncio.TimerHandle | None = None

    def asked(self, *, is_first: bool) -> None:
        """Note that a command is being sent; *is_first*: no other is under way."""
        if self._timer is None and self._timeout_s is not None:
            self.heard_at = self._loop.time()
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        elif is_first:
            self.heard_at = self._loop.time()

    def stop(self) -> None:
        """Call *over* no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, silent_since: float | None = None) -> None:
        """End the connection if the server is silent, and was so *silent_since* the last look; else look again."""
        self._timer = None
        if self._timeout_s is None or not self._is_owed():
            return
        left_s = self.heard_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        elif silent_since == self.heard_at:
            self._over(self._timeout_s)
        else:
            self._timer = self._loop.call_later(GRACE_S, self._look, self.heard_at)
