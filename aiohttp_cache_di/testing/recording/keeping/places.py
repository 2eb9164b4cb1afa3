"""Open a recording: a file, which may refer to others beside it, or a zip archive, as Playwright writes."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.testing.recording.keeping.foreign import Attached

__all__ = ["nothing_attached", "opened"]


def nothing_attached(name: str) -> bytes:
    """Refuse to read *name*, because the recording has not been read from a file.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError(f"a body is in the file {name!r}, but the recording was not read from a file")


@contextmanager
def opened(path: Path) -> Generator[tuple[str, Attached]]:
    """Open the recording at *path*: yields its text, and a function that reads the other files that it refers to.

    Raises:
        OSError: the file cannot be read.
        ConfigurationError: the archive is damaged, or does not contain exactly one recording.
    """
    if path.suffix.lower() != ".zip":
        yield path.read_text(encoding="utf-8-sig"), lambda name: _beside(path, name)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".har")]
            if len(names) != 1:
                raise ConfigurationError(
                    f"the archive has {len(names)} files that end in .har, and has to have exactly one"
                )
            yield archive.read(names[0]).decode("utf-8-sig"), lambda name: _inside(archive, name)
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as exc:  # RuntimeError: encrypted, or unknown compression
        raise ConfigurationError(f"the archive cannot be read: {exc}") from exc


def _beside(path: Path, name: str) -> bytes:
    folder = path.parent.resolve()
    found = (folder / name).resolve()
    if not found.is_relative_to(folder):
        raise ConfigurationError(f"a body would be in the file {name!r}, which is outside of {folder}")
    try:
        return found.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"a body is in the file {name!r}, which cannot be read: {exc}") from exc


def _inside(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError:
        raise ConfigurationError(f"a body is in the file {name!r}, which the archive does not have") from None
