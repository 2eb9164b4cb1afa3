"""Checks of the options that both adapters take when the page is mounted."""

from __future__ import annotations

from aiohttp_cache_di.errors import ConfigurationError

__all__ = ["DEFAULT_PATH", "expect_callable", "mount_path"]

DEFAULT_PATH = "/cache-admin"


def mount_path(path: str, *, option: str) -> str:
    """*path* without a slash at its end; "" for the root.

    Raises:
        ConfigurationError: *path* is not the path of a URL.
    """
    if not isinstance(path, str) or (path and not path.startswith("/")) or any(char in path for char in "{}?#"):
        raise ConfigurationError(f"{option}={path!r}: use a path, such as {DEFAULT_PATH!r}")
    return path.rstrip("/")


def expect_callable(authorize: object, *, what: str) -> None:
    """Raise ConfigurationError unless *authorize* is callable or None; *what* describes it in the message."""
    if authorize is not None and not callable(authorize):
        raise ConfigurationError(
            f"authorize={authorize!r}: give {what}, or None for clients on this machine and no others"
        )
