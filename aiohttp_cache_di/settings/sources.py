"""Where variables are read: the environment, ``.env`` files, files that a variable names, and a directory of secrets.

Each is a layer; of a variable that several layers have, the one from the highest counts: environment, ``.env``,
directory. ``NAME_FILE`` stands in its layer for ``NAME``. Every file is opened once, since one that is a pipe can be
read only once, and none is waited for without an end.
"""

from __future__ import annotations

import io
import os
import re
import select
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from dotenv import dotenv_values

from aiohttp_cache_di.addresses import MASK
from aiohttp_cache_di.settings.forms import path
from aiohttp_cache_di.settings.notation import FormError

__all__ = ["DEFAULT_ENV_FILE", "ENVIRONMENT", "FILE_SUFFIX", "Found", "Layers"]

DEFAULT_ENV_FILE: Final = ".env"
ENVIRONMENT: Final = "environment"
FILE_SUFFIX: Final = "_file"
MAX_FILE_BYTES: Final = 1024 * 1024
PIPE_PATIENCE_S: Final = 5.0  # for the program at a pipe's other end to write

_EXPANDED: Final = re.compile(r"\$\{[^}]*\}")  # by python-dotenv
_ADDRESS: Final = r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)"
# What the kubelet sets in each container for each Service, by its name (Kubernetes documentation, "Accessing the
# Service"); value by value, so that a variable of a person that only looks similar is still refused.
_OF_KUBERNETES: Final = tuple(
    (re.compile(rf"(?:\w+_)?{name}"), re.compile(value))
    for name, value in {
        "service_host": _ADDRESS,
        r"service_port(?:_\w+)?": r"\d{1,5}",
        r"port(?:_\d{1,5}_(?:tcp|udp|sctp))?": r"(?:tcp|udp|sctp)://\S+:\d{1,5}",
        r"port_\d{1,5}_(?:tcp|udp|sctp)_proto": r"(?:tcp|udp|sctp)",
        r"port_\d{1,5}_(?:tcp|udp|sctp)_port": r"\d{1,5}",
        r"port_\d{1,5}_(?:tcp|udp|sctp)_addr": _ADDRESS,
    }.items()
)


class Found(NamedTuple):
    """The text of a variable, and what it came from: ``environment`` or a file.

    What is there by chance was said by the ``.env`` of the current directory, or by what it names.
    """

    text: str
    source: str
    by_chance: bool = False


@dataclass(frozen=True)
class Layers:
    """What the sources have, by name in lower case; problems are sentences for the person who set the variables.

    Args:
        prefix: of the variables.
        secret: names, in lower case, that may be given as ``…_FILE``.
        required: names, in lower case, that must not be empty.
    """

    prefix: str
    secret: Collection[str]
    required: Collection[str]
    found: dict[str, Found] = field(default_factory=dict[str, Found])
    problems: list[str] = field(default_factory=list[str])

    def read_all(self, env_files: Iterable[str | Path], directory: str | None) -> None:
        """Read every source; *directory* goes before the variable ``SECRETS_DIR``."""
        in_files: dict[str, Found] = {}
        for file in env_files:
            in_files |= self._env_file(file)
        layers = [self._with_files(in_files), self._with_files(self._environment())]
        for layer in layers:
            self.found.update(layer)
        named = self.found.get(f"{self.prefix}secrets_dir".lower())
        by_chance = False
        if directory is None and named is not None:
            directory, by_chance = named.text, named.by_chance
        for name, one in self._secrets_directory(directory).items():
            self.found.setdefault(name, one._replace(by_chance=by_chance))

    def _environment(self) -> dict[str, Found]:
        start = len(self.prefix)
        return {
            name: one
            for name, one in self._with_prefix(os.environ, ENVIRONMENT).items()
            if not made_by_kubernetes(name[start:], one.text)
        }

    def _env_file(self, file: str | Path) -> dict[str, Found]:
        implicit = str(file) == DEFAULT_ENV_FILE
        try:
            status = os.stat(file)
        except OSError as exc:
            if not implicit:
                missing = isinstance(exc, FileNotFoundError)
                why = ": there is no such file" if missing else f" cannot be read: {exc.strerror}"
                self.problems.append(f"env_file={str(file)!r}{why}")
            return {}
        if implicit and stat.S_ISDIR(status.st_mode):  # such as a virtual environment of this name
            return {}
        text = self._text(f"env_file={str(file)!r}", file) or ""
        # Expanded, a file that others may have put there would send what else is in the environment to their server.
        variables = dotenv_values(stream=io.StringIO(text), interpolate=not implicit)
        found = self._with_prefix(variables, str(file))
        if not implicit:
            return found
        refused = [name for name, one in found.items() if _EXPANDED.search(one.text)]
        self.problems.extend(
            f"{name.upper()} in {file}: ${{...}} is not expanded in a file that lies in the current directory; "
            "write the value out, or name the file: env_file='./.env'"
            for name in refused
        )
        return {name: one._replace(by_chance=True) for name, one in found.items() if name not in refused}

    def _with_prefix(self, variables: Mapping[str, str | None], source: str) -> dict[str, Found]:
        start, kept = self.prefix.lower(), dict[str, Found]()
        for name, text in variables.items():
            key = name.lower()
            if not key.startswith(start):
                continue
            if text:
                kept[key] = Found(text, source)
            elif key.removesuffix(FILE_SUFFIX) in self.required:
                self.problems.append(f"{name.upper()}: it is empty; give it a value, or leave it out")
        return kept

    def _with_files(self, layer: dict[str, Found]) -> dict[str, Found]:
        """Put in the place of each ``…_FILE`` what the file holds."""
        for name in [name for name in layer if name.endswith(FILE_SUFFIX)]:
            target = name.removesuffix(FILE_SUFFIX)
            if target not in self.secret:
                continue
            file, _, by_chance = layer.pop(name)
            if target in layer:
                self.problems.append(f"{target.upper()} and {name.upper()} are both set; keep one")
                continue
            what = f"{name.upper()}={_shown_path(file)}"
            try:
                path(file)
            except FormError as exc:
                self.problems.append(f"{what}: {exc}")
                continue
            text = self._text(what, file)
            if text is not None and text.rstrip("\r\n"):
                layer[target] = Found(text.rstrip("\r\n"), file, by_chance)
            elif text is not None:
                self.problems.append(f"{what}: the file is empty")
        return layer

    def _secrets_directory(self, given: str | None) -> dict[str, Found]:
        try:
            text = path(given)
        except ValueError:  # told when the settings are checked
            return {}
        if not isinstance(text, str):
            return {}
        what, start, directory = f"{self.prefix}SECRETS_DIR={text!r}", self.prefix.lower(), Path(text)
        try:
            names = sorted(os.listdir(directory))
        except OSError as exc:
            self.problems.append(f"{what} cannot be read: {exc.strerror}")
            return {}
        texts: dict[str, str] = {}
        for name in names:
            if name.lower().startswith(start):
                text = self._text(f"{what}: {name}", directory / name)
                if text is not None:
                    texts[name] = text.rstrip("\r\n")
        found = self._with_prefix(texts, "")
        by_name = {name.lower(): str(directory / name) for name in names}
        return {name: Found(one.text, by_name[name]) for name, one in found.items()}

    def _text(self, what: str, file: str | Path) -> str | None:
        """What *file* holds; None, and a problem more, when it cannot be read."""
        try:
            return _read_once(file).decode("utf-8-sig")
        except UnicodeDecodeError:  # whose text repeats a part of it
            self.problems.append(f"{what} cannot be read: it is not UTF-8 text")
        except OSError as exc:
            self.problems.append(f"{what} cannot be read: {exc.strerror or exc}")
        return None


def _shown_path(file: str) -> str:
    """A path, unless it may be the secret itself that was given in the place of a file's name."""
    is_path = os.path.exists(file) or (os.path.isabs(file) and os.path.isdir(os.path.dirname(file)))
    return repr(file) if is_path else MASK


def made_by_kubernetes(name: str, value: str) -> bool:
    """Whether a variable is one that Kubernetes makes for a Service; *name* is without prefix, in lower case."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _OF_KUBERNETES)


def _read_once(file: str | Path) -> bytes:
    """Read *file*, which may be a pipe, to its end."""
    # Without O_NONBLOCK, opening a pipe that no one writes to would wait for ever.
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(descriptor, "rb", buffering=0) as stream:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError("it is a directory")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data, end_at = b"", time.monotonic() + PIPE_PATIENCE_S
        while len(data) <= MAX_FILE_BYTES:
            if not is_file and not poll.poll(max(end_at - time.monotonic(), 0) * 1000):
                raise TimeoutError(f"nothing was written to the pipe for {PIPE_PATIENCE_S:g} s")
            chunk = stream.read(64 * 1024)
            if chunk == b"":
                return data
            data += chunk or b""
    raise OSError(f"it has more than {MAX_FILE_BYTES} bytes")
