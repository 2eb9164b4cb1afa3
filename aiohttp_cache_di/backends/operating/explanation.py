"""`Explanation`: the result of `explain`, as a value, as text and as JSON."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, to_builtins

from aiohttp_cache_di.entries.info import EntryInfo
from aiohttp_cache_di.policy.tracing import Step

__all__ = ["Explanation"]


class Explanation(Struct, frozen=True, kw_only=True):
    """What the cache would do with a request, and why.

    Attributes:
        method: the method of the request.
        url: its URL, with secrets and ignored values replaced.
        key: the key of its response; "" if that is never stored.
        partition: a short id of the principal or the credentials of the request; "" for everyone.
        decision: the name of the decision, as in docs/caching.md.
        cache_status: the Cache-Status of the response (RFC 9211), as far as it is known without asking the origin.
        steps: the questions of docs/caching.md that led to the decision, each with the values that decided it.
        settings: the settings that apply, each with its source.
        stored: the entries for the URL, of any method, principal and variant, as far as the store answers.
        store_error: why the store does not answer, with its place and without secrets; "" if it does.
        is_all: whether the whole store was searched for *stored*, or else the part that takes a few seconds.
    """

    method: str
    url: str
    key: str
    partition: str
    decision: str
    cache_status: str
    steps: tuple[Step, ...]
    settings: tuple[str, ...]
    stored: tuple[EntryInfo, ...]
    store_error: str = ""
    is_all: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The explanation as a dict of JSON types."""
        found: dict[str, Any] = to_builtins(self)
        found["stored"] = [info.as_dict() for info in self.stored]
        return found

    def __str__(self) -> str:
        whose = f", for principal {self.partition}" if self.partition else ""
        lines = [f"{self.method} {self.url}{whose}", f"{self.decision}: {self.cache_status}", ""]
        lines += [f"  {step.question}: {'yes' if step.answer else 'no'}{_and(step.because)}" for step in self.steps]
        lines += ["", *(f"  {setting}" for setting in self.settings), ""]
        nothing = "what is stored for the URL is not known" if self.store_error else "nothing is stored for the URL"
        if self.is_all:
            lines += [f"  {_line(info)}" for info in self.stored] or [f"  {nothing}"]
        else:
            lines += [f"  {_line(info)}" for info in self.stored]
            lines.append("  the store is too large to be searched for more in time; entries(url=…) and `ls --url` do")
        return "\n".join(lines)


def _and(because: str) -> str:
    return f" ({because})" if because else ""


def _line(info: EntryInfo) -> str:
    parts = [f"stored: {info.method} {info.status}, {info.body_bytes} bytes, key {info.key[:12]}"]
    parts += [f"varies on {info.variant}"] if info.variant else []
    parts += [f"for principal {info.partition}"] if info.partition else []
    return ", ".join(parts)
