"""The page: one document made of the files in ``assets``, with a Content-Security-Policy that allows nothing else."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp_cache_di.admin.messages import COMMON_HEADERS, Reply

__all__ = ["PARTS", "Page"]

_FOLDER: Final = "assets"
PARTS: Final = (
    *("start", "elements", "numbers", "api", "troubles", "workers", "plots", "overview"),
    *("entries", "entry", "purge", "explain", "moving"),
)
"""The files of the script, in the order in which they are joined into one function."""


class Page:
    """The document, which is the same for every user; a thread reads it at the first request."""

    def __init__(self) -> None:
        self._reply: Reply | None = None

    async def reply(self) -> Reply:
        """The page."""
        if self._reply is None:
            self._reply = await asyncio.to_thread(_read)
        return self._reply


def _read() -> Reply:
    folder = files("aiohttp_cache_di.admin") / _FOLDER
    html, css = ((folder / f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css"))
    parts = [(folder / "script" / f"{part}.js").read_text(encoding="utf-8") for part in PARTS]
    js = "\n".join(('"use strict";', "(() => {", *parts, "})();", ""))
    document = html.replace("/* page.css */", css).replace("/* page.js */", js)
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _policy(css, js)}
    return Reply(200, document.encode(), {**COMMON_HEADERS, **headers})


def _policy(css: str, js: str) -> str:
    """The Content-Security-Policy: this script, this style and the page's own API, and no markup from text."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(js)}'",
            f"style-src '{_digest(css)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
