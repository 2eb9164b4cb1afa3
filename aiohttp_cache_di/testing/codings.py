"""Content codings: those that Python has, and Brotli and Zstandard where there is a package that aiohttp uses too."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Final

__all__ = ["coded", "decoded"]

_BROTLI: Final = ("brotlicffi", "brotli")
_ZSTD: Final = ("compression.zstd",) if sys.version_info >= (3, 14) else ("backports.zstd",)


def coded(body: bytes, coding: str) -> bytes | None:
    """*body* in the content *coding*; None where that is unknown here."""
    name = coding.strip().lower()
    if name in ("br", "zstd"):
        module = _first(_BROTLI if name == "br" else _ZSTD)
        if module is None:
            return None
        found: bytes = module.compress(body)
        return found
    coder = _CODERS.get(name)
    return None if coder is None else coder(body)


def decoded(body: bytes, coding: str) -> bytes | None:
    """*body* out of its content *coding*; None where it is in none, in one unknown here, or decoded already."""
    name = coding.strip().lower()
    if name == "br":
        return _out_of(body, _first(_BROTLI), "error")
    if name == "zstd":
        return _out_of(body, _first(_ZSTD), "ZstdError")
    for window in _WINDOWS.get(name, ()):
        try:
            decoder = zlib.decompressobj(window)
            plain = decoder.decompress(body) + decoder.flush()
        except zlib.error:
            continue
        if decoder.eof:
            return plain
    return None


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


_CODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "deflate": zlib.compress,
    "gzip": _gzip,
    "identity": bytes,
    "x-gzip": _gzip,
}
_WINDOWS: Final = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


def _first(names: tuple[str, ...]) -> ModuleType | None:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _out_of(body: bytes, module: ModuleType | None, error: str) -> bytes | None:
    if module is None:
        return None
    try:
        found: bytes = module.decompress(body)
    except getattr(module, error):
        return None
    return found
