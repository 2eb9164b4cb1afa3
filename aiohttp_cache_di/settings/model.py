"""`CacheSettings`: everything that can be configured, read from environment variables."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast, get_args, get_origin

from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.errors import ConfigurationError
from aiohttp_cache_di.settings.kinds import (
    BackendName,
    Codes,
    Duration,
    Flag,
    FreeText,
    HeaderNames,
    JsonObject,
    Kind,
    Lifetime,
    Methods,
    Names,
    OptionalCount,
    OptionalDuration,
    OptionalFlag,
    OptionalPath,
    OptionalSecret,
    RedisUrl,
    Secrets,
    Size,
    SizeLimit,
    StaleWindow,
    UrlLifetimes,
)

__all__ = ["DEFAULT_PREFIX", "CacheSettings", "ClientSettings", "RedisSettings", "SQLiteSettings", "Variable"]

DEFAULT_PREFIX: Final = "AIOHTTP_CACHE_"
DEFAULT_ENV_FILE: Final = ".env"

_BOUNDS: Final = {"gt": "more than", "ge": "from", "le": "to", "min_length": "of a length from"}

Source: TypeAlias = str
"""Where the value of a setting came from: ``default``, ``environment``, ``code`` or the name of a file."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SQLiteSettings(_Section):
    """What concerns ``backend=sqlite`` alone."""

    path: OptionalPath = Field(
        default=None, description="database file; none: `<cache name>.sqlite` in the user's cache directory"
    )
    timeout: Duration = Field(
        default=0.15, description="how long another process's lock is waited for; keep it below storage_deadline"
    )
    fast_save: Flag = Field(default=False, description="do not wait for the disk; a power cut may cost what is stored")


class RedisSettings(_Section):
    """What concerns ``backend=redis`` alone."""

    url: RedisUrl = Field(default=SecretStr("redis://localhost:6379/0"), description="where the server is")
    username: FreeText | None = Field(default=None, description="user name, unless the URL has it")
    password: OptionalSecret = Field(default=None, description="password, unless the URL has it")
    near_tier: OptionalDuration = Field(
        default=None, description="how long a process may use its own copy of what it has read from the server"
    )


class ClientSettings(_Section):
    """What concerns the client's own connections."""

    cookies: Flag = Field(default=False, description="keep cookies between requests; they are then shared by all users")
    timeout: OptionalDuration = Field(default=300.0, description="limit of a whole request")
    connect_timeout: OptionalDuration = Field(default=30.0, description="limit of opening a connection")
    connections: int = Field(default=100, ge=0, description="connections at most (0: no limit)")
    connections_per_host: int = Field(default=0, ge=0, description="connections to one host at most (0: no limit)")
    trust_env: Flag = Field(default=False, description="take proxies from HTTP_PROXY …, credentials from ~/.netrc")


class Variable(NamedTuple):
    """One setting as a variable: its name without prefix, where it stands in the model, and what it takes."""

    suffix: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def kind(self) -> Kind:
        """How the value is shown, and what is accepted apart from bounds."""
        return next((item for item in self.field.metadata if isinstance(item, Kind)), _kind_of(self.field.annotation))

    @property
    def accepts(self) -> str:
        """What is accepted, in words."""
        bounds = {name: getattr(item, name) for item in self.field.metadata for name in _BOUNDS if hasattr(item, name)}
        if not bounds or self.kind.bounded:
            return self.kind.accepts
        extent = " ".join(f"{_BOUNDS[name]} {bound}" for name, bound in bounds.items())
        return f"{self.kind.accepts}{',' if ',' in self.kind.accepts else ''} {extent}"


def _kind_of(annotation: object) -> Kind:
    if get_origin(annotation) is Literal:
        return Kind(" or ".join(str(value) for value in get_args(annotation)))
    return Kind({int: "a whole number", float: "a number"}.get(cast(type, annotation), "any text"))


class CacheSettings(BaseSettings):
    """The settings of one cache; what is not given comes from the environment, then from ``.env``.

    A value that cannot be used is refused with the variable's name, the value (unless it is a secret) and what is
    accepted; so is a variable that has the prefix and is no setting. Several caches in one process take a prefix each.

    Raises:
        ConfigurationError: one message that lists everything wrong.
        TypeError: a keyword argument is no setting.
    """

    model_config = SettingsConfigDict(
        env_prefix=DEFAULT_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,  # values are read by their kind; JSON is not asked of a list of words
        extra="ignore",  # what is unknown is refused below, with the nearest name
        frozen=True,
        hide_input_in_errors=True,
        nested_model_default_partial_update=True,
    )

    backend: BackendName = Field(default="sqlite", description="where responses are kept")
    cache_name: FreeText | None = Field(
        default=None, min_length=1, description="namespace or file name; none: from the prefix (`aiohttp-cache`)"
    )
    cache_control: Flag = Field(default=True, description="follow HTTP's own caching rules (RFC 9111)")
    expire_after: Lifetime = Field(
        default=None, description="lifetime of a response, or with cache_control of one that states none itself"
    )
    urls_expire_after: UrlLifetimes = Field(
        default_factory=dict, description="lifetimes by URL pattern; the first match wins"
    )
    allowed_codes: Codes = Field(default=None, description="statuses that are cached")
    allowed_methods: Methods = Field(default=("GET", "HEAD"), description="methods that are cached")
    include_headers: Flag = Field(default=False, description="all request headers are part of the key")
    ignored_params: Names = Field(default=(), description="parameters and headers that do not count, nor are stored")
    match_order: OptionalFlag = Field(
        default=None, description="the order of parameters and of names in a JSON body counts; none: with cache_control"
    )
    shared: Flag = Field(default=False, description="act as a shared cache: store nothing private")
    credential_headers: HeaderNames = Field(default=(), description="further request headers that set principals apart")
    partition_cookies: Literal["effective", "explicit"] = Field(
        default="effective", description="explicit: cookies of the jar do not set principals apart"
    )
    stale_if_error: StaleWindow = Field(default=None, description="how long a stale response may replace an error")
    stale_while_revalidate: OptionalDuration = Field(
        default=None, description="how long a stale response may be used while it is validated"
    )
    heuristic_fraction: float = Field(
        default=0.1, ge=0, le=1, description="lifetime from Last-Modified, as a part of the age"
    )
    heuristic_with_query: Flag = Field(default=False, description="also for URLs with a query")
    max_variants: int = Field(default=16, ge=1, description="variants (Vary) of one URL at most")
    max_body_bytes: Size = Field(default=8 * 1024**2, description="larger responses are not stored")
    max_entries: OptionalCount = Field(default=None, ge=1, description="responses stored at most")
    max_bytes: SizeLimit = Field(default="auto", description="size of the store at most; a Redis server has its own")
    secret_key: Secrets = Field(default=(), description="keys that sign what is stored")
    coalesce: Flag = Field(default=True, description="equal requests at the same time share one to the origin")
    coalesce_timeout: Duration = Field(default=2.0, description="how long a request waits for its equal")
    lease: Duration = Field(default=5.0, description="how long other processes wait for one's request; 0: not at all")
    storage_deadline: Duration = Field(default=0.25, gt=0, description="limit of one operation of the store")
    write_behind: Flag = Field(default=True, description="store after the response was handed on")
    fast_lane: Flag = Field(default=True, description="answer plain hits by the shortest way")
    store_cookies: Flag = Field(default=False, description="store and replay Set-Cookie")
    backend_options: JsonObject = Field(
        default_factory=dict, repr=False, description="further keyword arguments of the back-end's class"
    )
    sqlite: SQLiteSettings = Field(default_factory=SQLiteSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    client: ClientSettings = Field(default_factory=ClientSettings)

    _prefix: str = PrivateAttr(default=DEFAULT_PREFIX)
    _sources: dict[tuple[str, ...], Source] = PrivateAttr(default_factory=dict[tuple[str, ...], Source])

    if not TYPE_CHECKING:  # type checkers make the signature from the fields, and so see a misspelt one

        def __init__(self, **values: Any) -> None:
            prefix = values["_env_prefix"] = values.get("_env_prefix") or DEFAULT_PREFIX
            values.setdefault("_env_file", DEFAULT_ENV_FILE)
            given = {name: value for name, value in values.items() if not name.startswith("_")}
            refuse_unknown(type(self).__name__, given, type(self).model_fields)
            found = _Variables.read(type(self), prefix, values["_env_file"])
            problems = found.unknown()
            try:
                super().__init__(**values)
            except ValidationError as exc:
                problems += filter(None, (_explain(error, found, given) for error in exc.errors(include_url=False)))
            if problems:
                _refuse(problems)
            self._prefix = prefix
            self._sources = {item.path: found.source(item, given) for item in found.known}

    @classmethod
    def load(cls, prefix: str = DEFAULT_PREFIX, env_file: str | Path | None = DEFAULT_ENV_FILE) -> CacheSettings:
        """Read the settings of the cache whose variables begin with *prefix*.

        Args:
            prefix: of the variables; must not be empty, and should not begin with another cache's.
            env_file: read for what the environment lacks. A missing ``.env`` is no error, any other is.
        """
        if not prefix:
            raise ConfigurationError(
                "prefix='': variables without a prefix are never read; give one such as 'API_CACHE_'"
            )
        if env_file is not None and str(env_file) != DEFAULT_ENV_FILE and not Path(env_file).is_file():
            raise ConfigurationError(f"env_file={str(env_file)!r}: there is no such file")
        options: dict[str, Any] = {"_env_prefix": prefix, "_env_file": env_file}
        return cls(**options)

    @property
    def prefix(self) -> str:
        """What the names of this cache's variables begin with."""
        return self._prefix

    @property
    def name(self) -> str:
        """The cache's name: as given, or made from the prefix, so that two caches do not share a store by accident."""
        return self.cache_name or self._prefix.strip("_").lower().replace("_", "-")

    @property
    def sqlite_path(self) -> Path:
        """The database file of ``backend=sqlite``."""
        if self.sqlite.path is not None:
            return self.sqlite.path.expanduser()
        return user_cache_path("aiohttp-cache-di", appauthor=False) / f"{self.name}.sqlite"

    def source_of(self, path: tuple[str, ...]) -> Source:
        """Tell where the value at *path* came from."""
        return self._sources[path]

    @classmethod
    def variables(cls) -> Iterator[Variable]:
        """Every setting as a variable, in the order of the model."""
        for name, field in cls.model_fields.items():
            section = field.annotation
            if isinstance(section, type) and issubclass(section, _Section):
                for inner, inner_field in section.model_fields.items():
                    yield Variable(f"{name}__{inner}".upper(), (name, inner), inner_field)
            else:
                yield Variable(name.upper(), (name,), field)


class _Variables(NamedTuple):
    """The variables that begin with the prefix, names in lower case, as the environment and ``.env`` have them."""

    prefix: str
    known: tuple[Variable, ...]
    environment: Mapping[str, str]
    env_file: Mapping[str, str]
    file_name: str

    @classmethod
    def read(cls, settings: type[CacheSettings], prefix: str, env_file: Any) -> _Variables:
        try:
            in_file = DotEnvSettingsSource(settings, env_file=env_file, env_prefix=prefix).env_vars
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"env_file={str(env_file)!r} cannot be read: {exc}") from exc
        known = tuple(settings.variables())
        return cls(prefix, known, _with_prefix(os.environ, prefix), _with_prefix(in_file, prefix), str(env_file))

    def unknown(self) -> list[str]:
        """Explain the variables that have the prefix and are no setting."""
        known = {self.name(item).lower(): self.name(item) for item in self.known}
        problems: list[str] = []
        for name in sorted({*self.environment, *self.env_file} - known.keys()):
            hints = [f"did you mean {known[near]}?" for near in difflib.get_close_matches(name, known, 1, cutoff=0.75)]
            if any(name.endswith(f"_{item.suffix.lower()}") for item in self.known) or not hints:
                hints.append(f"variables of another cache need a prefix that does not begin with {self.prefix}")
            problems.append(f"{name.upper()}: there is no such setting; {' '.join(hints)}")
        return problems

    def name(self, item: Variable) -> str:
        return self.prefix + item.suffix

    def raw(self, item: Variable) -> str | None:
        name = self.name(item).lower()
        return self.environment.get(name, self.env_file.get(name))

    def source(self, item: Variable, given: Mapping[str, Any]) -> Source:
        """Tell which source decides about *item*, *given* being the keyword arguments."""
        value: Any = given
        for step in item.path:
            if isinstance(value, BaseModel):
                return "code"
            if not isinstance(value, Mapping) or step not in value:
                break
            value = cast(Mapping[str, Any], value)[step]
        else:
            return "code"
        name = self.name(item).lower()
        if name in self.environment:
            return "environment"
        return self.file_name if name in self.env_file else "default"


def _with_prefix(variables: Mapping[str, str | None], prefix: str) -> dict[str, str]:
    start = prefix.lower()
    return {name.lower(): value for name, value in variables.items() if value and name.lower().startswith(start)}


def _explain(error: Any, found: _Variables, given: Mapping[str, Any]) -> str | None:
    """Turn one of pydantic's errors into a sentence that names the variable, the value and what is accepted."""
    location = tuple(str(step) for step in error["loc"])
    item = next((item for item in found.known if location[: len(item.path)] == item.path), None)
    if item is None:  # a section that is none, or has something that is no setting; a variable is refused as unknown
        return f"{'.'.join(location)}: {error['msg']}" if location[0] in given else None
    if found.source(item, given) == "code":
        return f"{'.'.join(item.path)}={item.kind.mask(repr(error['input']))}: it accepts {item.accepts}"
    raw = item.kind.mask(found.raw(item) or "")
    return f"{found.name(item)}={raw!r}: it accepts {item.accepts}"


def _refuse(problems: list[str]) -> None:
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        raise ConfigurationError(unique[0])
    raise ConfigurationError(f"{len(unique)} settings cannot be used:\n" + "\n".join(f"  {line}" for line in unique))
