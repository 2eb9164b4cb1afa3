"""Read variables from the environment, ``.env`` files, files that variables name, and a directory of secrets.

If several sources have a variable, the environment takes precedence over ``.env``, and that over the directory. A
variable ``NAME_FILE`` counts as ``NAME`` in its source. Each file is opened only once, because a pipe can be read only
once, and every wait for one is bounded.

The sources of pydantic-settings are not used: they have no ``NAME_FILE``, pass over a file that is missing, expand
``${NAME}`` in a ``.env`` that anyone may have put there, and do not tell which source a value came from, as errors and
the command ``settings`` do.
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
PIPE_TIMEOUT_S: Final = 5.0  # for the program at the other end of a pipe to write

_EXPANDED: Final = re.compile(r"\$\{[^}]*\}")  # by python-dotenv
_ADDRESS: Final = r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)"
# The variables that the kubelet sets for each Service (Kubernetes documentation, "Accessing the Service"). Their values
# are checked as well, so that a misspelt setting with a similar name is still refused.
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
    """The text of a variable.

    Attributes:
        source: `ENVIRONMENT`, or the path of a file.
        is_untrusted: it comes from the ``.env`` of the current directory, or from a file named there: anyone who can
            write into that directory could set it.
    """

    text: str
    source: str
    is_untrusted: bool = False


@dataclass(frozen=True)
class Layers:
    """The variables of one prefix that the sources have.

    Args:
        prefix: the prefix of the variables.
        secret: names, in lower case, of variables that may be given as ``…_FILE``.
        required: names, in lower case, of variables that must not be empty.
        found: the variables, by name in lower case.
        problems: sentences for the person who sets the variables.
    """

    prefix: str
    secret: Collection[str]
    required: Collection[str]
    found: dict[str, Found] = field(default_factory=dict[str, Found])
    problems: list[str] = field(default_factory=list[str])

    def read_all(self, env_files: Iterable[str | Path], directory: str | None) -> None:
        """Read all sources; *directory* takes precedence over the variable ``SECRETS_DIR``."""
        in_files: dict[str, Found] = {}
        for file in env_files:
            in_files |= self._env_file(file)
        layers = [self._with_files(in_files), self._with_files(self._environment())]
        for layer in layers:
            self.found.update(layer)
        named = self.found.get(f"{self.prefix}secrets_dir".lower())
        is_untrusted = False
        if directory is None and named is not None:
            directory, is_untrusted = named.text, named.is_untrusted
        for name, one in self._secrets_directory(directory).items():
            self.found.setdefault(name, one._replace(is_untrusted=is_untrusted))

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
        if implicit and stat.S_ISDIR(status.st_mode):  # such as a virtual environment called .env
            return {}
        text = self._text(f"env_file={str(file)!r}", file) or ""
        # With expansion, an untrusted file could send other variables of the environment to a server of its choice.
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
        return {name: one._replace(is_untrusted=True) for name, one in found.items() if name not in refused}

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
        """Replace each variable ``…_FILE`` by the content of the file."""
        for name in [name for name in layer if name.endswith(FILE_SUFFIX)]:
            target = name.removesuffix(FILE_SUFFIX)
            if target not in self.secret:
                continue
            file, _, is_untrusted = layer.pop(name)
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
                layer[target] = Found(text.rstrip("\r\n"), file, is_untrusted)
            elif text is not None:
                self.problems.append(f"{what}: the file is empty")
        return layer

    def _secrets_directory(self, given: str | None) -> dict[str, Found]:
        try:
            text = path(given)
        except ValueError:  # reported when the settings are validated
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
        """The content of *file*; None, and an item in `problems`, if it cannot be read."""
        try:
            return _read_once(file).decode("utf-8-sig")
        except UnicodeDecodeError:  # its message quotes a part of the content
            self.problems.append(f"{what} cannot be read: it is not UTF-8 text")
        except OSError as exc:
            self.problems.append(f"{what} cannot be read: {exc.strerror or exc}")
        return None


def _shown_path(file: str) -> str:
    """*file* for an error message; masked if it may be a secret that was given instead of a path."""
    is_path = os.path.exists(file) or (os.path.isabs(file) and os.path.isdir(os.path.dirname(file)))
    return repr(file) if is_path else MASK


def made_by_kubernetes(name: str, value: str) -> bool:
    """Whether Kubernetes made the variable for a Service; *name* is in lower case and without the prefix."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _OF_KUBERNETES)


def _read_once(file: str | Path) -> bytes:
    """Read *file*, which may be a pipe; raise OSError if it is too large, or if nothing is written to the pipe."""
    # Without O_NONBLOCK, opening a pipe without a writer would wait for ever.
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with open(descriptor, "rb", buffering=0) as stream:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise IsADirectoryError("it is a directory")
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data, end_at = b"", time.monotonic() + PIPE_TIMEOUT_S
        while len(data) <= MAX_FILE_BYTES:
            if not is_file and not poll.poll(max(end_at - time.monotonic(), 0) * 1000):
                raise TimeoutError(f"nothing was written to the pipe for {PIPE_TIMEOUT_S:g} s")
            chunk = stream.read(64 * 1024)
            if chunk == b"":
                return data
            data += chunk or b""
    raise OSError(f"it has more than {MAX_FILE_BYTES} bytes")
