"""Content codings: those in Python's library, and Brotli and Zstandard with the packages that aiohttp uses."""

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
    """Encode *body* with the content *coding*; None if that is not supported."""
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
    """Decode *body* from the content *coding*; None if that is not supported, or *body* is not encoded with it."""
    name = coding.strip().lower()
    if name == "br":
        return _decompressed(body, _first(_BROTLI), "error")
    if name == "zstd":
        return _decompressed(body, _first(_ZSTD), "ZstdError")
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


def _decompressed(body: bytes, module: ModuleType | None, error: str) -> bytes | None:
    if module is None:
        return None
    try:
        found: bytes = module.decompress(body)
    except getattr(module, error):
        return None
    return found
