"""`CacheSettings`: all settings of a cache, read from environment variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Unpack

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.settings.kinds import (
    BackendName,
    Codes,
    Duration,
    Flag,
    HeaderNames,
    JsonObject,
    Lifetime,
    Methods,
    Names,
    OptionalCount,
    OptionalFlag,
    OptionalPath,
    OptionalSize,
    OptionalText,
    Secrets,
    SizeLimit,
    StaleWindow,
    UrlLifetimes,
    UrlNames,
    UrlPatterns,
    Wait,
)
from aiohttp_cache_di.settings.places import Place, find_directory, find_place
from aiohttp_cache_di.settings.sections import (
    ClientSettings,
    DynamoDBSettings,
    FilesystemSettings,
    MongoDBSettings,
    RedisSettings,
    Section,
    SQLiteSettings,
)
from aiohttp_cache_di.settings.sources import DEFAULT_ENV_FILE
from aiohttp_cache_di.settings.variables import CODE_SOURCE, Source, Variable, Variables, expect_prefix, refuse

if TYPE_CHECKING:
    from aiohttp_cache_di.settings.typed import (
        ClientSettingsOptions,
        DynamoDBSettingsOptions,
        FilesystemSettingsOptions,
        MongoDBSettingsOptions,
        RedisSettingsOptions,
        SettingsOptions,
        SQLiteSettingsOptions,
    )

__all__ = ["DEFAULT_PREFIX", "CacheSettings"]

DEFAULT_PREFIX: Final = "AIOHTTP_CACHE_"
"""The default prefix of a cache's variables."""

if TYPE_CHECKING:

    class _Given(SettingsOptions, total=False):
        """The keyword arguments of `CacheSettings`, including its sections."""

        sqlite: SQLiteSettings | SQLiteSettingsOptions
        """Settings of ``backend=sqlite``."""
        redis: RedisSettings | RedisSettingsOptions
        """Settings of ``backend=redis``."""
        mongodb: MongoDBSettings | MongoDBSettingsOptions
        """Settings of ``backend=mongodb``."""
        dynamodb: DynamoDBSettings | DynamoDBSettingsOptions
        """Settings of ``backend=dynamodb``."""
        filesystem: FilesystemSettings | FilesystemSettingsOptions
        """Settings of ``backend=filesystem``."""
        client: ClientSettings | ClientSettingsOptions
        """Settings of the client's connections."""


class CacheSettings(BaseSettings):
    """The settings of one cache; those not given are read from the environment, ``.env`` and the secrets directory.

    An invalid value is refused with the name of the variable, the value (unless it is a secret) and what is accepted;
    so is a variable with the prefix that is no setting. Each of several caches in one process has its own prefix.

    Raises:
        ConfigurationError: one message that lists everything wrong.
        TypeError: a keyword argument is no setting.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=DEFAULT_PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    backend: BackendName = Field(default="sqlite", description="where responses are stored")
    cache_name: OptionalText = Field(
        default=None,
        min_length=1,
        description="name of the cache, its namespace or file; none: made from the prefix (`aiohttp-cache`)",
    )
    cache_control: Flag = Field(default=True, description="follow HTTP's caching rules (RFC 9111)")
    expire_after: Lifetime = Field(
        default=None, description="lifetime of responses; with cache_control, of those that state none"
    )
    urls_expire_after: UrlLifetimes = Field(
        default_factory=dict, description="lifetimes by URL pattern; the first match decides"
    )
    allowed_codes: Codes = Field(default=None, description="statuses of responses that are cached")
    allowed_methods: Methods = Field(
        default=("GET", "HEAD"), description="methods of requests whose responses are cached"
    )
    include_headers: Flag = Field(default=False, description="all request headers are part of the key")
    ignored_params: Names = Field(
        default=(), description="parameters and headers that are neither part of the key nor stored"
    )
    post_as_query: UrlPatterns = Field(
        default=(), description="URL patterns for which POST is a query and cached like QUERY; for cache_control"
    )
    match_order: OptionalFlag = Field(
        default=None,
        description="the order of parameters and JSON names is part of the key; none: if cache_control is true",
    )
    shared: Flag = Field(default=False, description="act as a shared cache: store nothing private")
    credential_headers: HeaderNames = Field(default=(), description="further request headers that identify the user")
    partition_cookies: Literal["effective", "explicit"] = Field(
        default="effective",
        description="cookies that identify the user: all that are sent, or only those given to the request",
    )
    partition_tls: Literal["authorities", "context"] = Field(
        default="authorities",
        description="what of a TLS context is part of the key: its authorities and certificate, or the object itself",
    )
    principals: UrlNames = Field(
        default_factory=dict,
        repr=False,
        description="users of requests by URL pattern, instead of by their credentials",
    )
    shared_credentials: UrlPatterns = Field(
        default=(), description="URL patterns of upstreams for which all credentials are equivalent"
    )
    stale_if_error: StaleWindow = Field(
        default=None, description="how long a stale response may be used instead of an error"
    )
    stale_while_revalidate: StaleWindow = Field(
        default=None, description="how long a stale response may be used while it is validated"
    )
    heuristic_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="fraction of the time since Last-Modified that is the lifetime of a response without one",
    )
    heuristic_with_query: Flag = Field(default=False, description="apply heuristic_fraction to URLs with a query, too")
    max_variants: int = Field(default=16, ge=1, description="most variants (Vary) stored for one URL")
    max_body_bytes: OptionalSize = Field(
        default=8 * 1024**2,
        description="largest body that is stored; none suits `filesystem`, which needs no memory for it",
    )
    max_entries: OptionalCount = Field(default=None, ge=1, description="most responses stored")
    max_bytes: SizeLimit = Field(
        default="auto", description="largest size of the store; a Redis server has its own limit"
    )
    secrets_dir: OptionalPath = Field(
        default=None, description="directory of files that are named like variables and contain their values"
    )
    secret_key: Secrets = Field(default=(), description="keys that sign stored responses")
    coalesce: Flag = Field(default=True, description="send only one of equal concurrent requests to the origin")
    coalesce_timeout: Duration = Field(
        default=2.0,
        description="how long a request waits for the body of an equal one that has stalled or has no known end",
    )
    lease: Duration = Field(
        default=2.0,
        description="how long other processes wait for a process that died during a request; 0: do not wait for others",
    )
    storage_deadline: Wait = Field(default=0.25, gt=0, description="time limit of one operation on the store")
    require_store: Flag = Field(
        default=False, description="a store that cannot be opened, read and written is an error at start-up"
    )
    write_behind: Flag = Field(default=True, description="store a response in the background, after passing it on")
    fast_lane: Flag = Field(default=True, description="answer simple hits without aiohttp's request machinery")
    store_cookies: Flag = Field(default=False, description="store Set-Cookie and send it with hits")
    backend_options: JsonObject = Field(
        default_factory=dict, repr=False, description="further keyword arguments of the backend class"
    )
    sqlite: SQLiteSettings = Field(default_factory=SQLiteSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    client: ClientSettings = Field(default_factory=ClientSettings)
    mongodb: MongoDBSettings = Field(default_factory=MongoDBSettings)
    dynamodb: DynamoDBSettings = Field(default_factory=DynamoDBSettings)
    filesystem: FilesystemSettings = Field(default_factory=FilesystemSettings)

    _prefix: str = PrivateAttr(default=DEFAULT_PREFIX)
    _sources: dict[tuple[str, ...], Source] = PrivateAttr(default_factory=dict[tuple[str, ...], Source])

    if TYPE_CHECKING:  # in code a setting also takes the text that its variable would have

        def __init__(self, **values: Unpack[_Given]) -> None:
            """Read the settings of a cache; those given here take precedence over the environment.

            Args:
                values: the settings, each with a docstring of its own.

            Raises:
                ConfigurationError: one message that lists everything wrong.
                TypeError: a keyword argument is no setting.
            """

    else:

        def __init__(self, **values: Any) -> None:
            prefix = values.pop("_env_prefix", None) or DEFAULT_PREFIX
            env_file = values.pop("_env_file", DEFAULT_ENV_FILE)
            if directory := values.pop("_secrets_dir", None):
                values["secrets_dir"] = directory
            given = {name: value for name, value in values.items() if not name.startswith("_")}
            refuse_unknown(type(self).__name__, given, type(self).model_fields)
            found = Variables.read(type(self).variables(), prefix, env_file, given)
            problems = found.problems
            try:
                super().__init__(**{**values, **found.values()})
            except ValidationError as exc:
                problems += filter(None, map(found.explain, exc.errors(include_url=False)))
            if problems:
                refuse(problems)
            self._prefix = prefix
            self._sources = {item.path: found.source(item) for item in found.known}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the sources to ``__init__``; the module ``sources`` says why."""
        return (init_settings,)

    @classmethod
    def load(cls, prefix: str = DEFAULT_PREFIX, env_file: str | Path | None = DEFAULT_ENV_FILE) -> CacheSettings:
        """Read the settings of the cache whose variables begin with *prefix*.

        Args:
            prefix: the prefix of the variables; not empty, and not itself the beginning of another cache's prefix.
            env_file: a file of variables that the environment does not set. A missing ``.env`` is no error, any other
                missing file is. The ``.env`` of the current directory must not name a class as ``BACKEND``; a file
                given by another path may.
        """
        expect_prefix(prefix)
        options: dict[str, Any] = {"_env_prefix": prefix, "_env_file": env_file}
        return cls(**options)

    @property
    def prefix(self) -> str:
        """The prefix of this cache's variables."""
        return self._prefix

    @property
    def name(self) -> str:
        """``cache_name``, or else a name made from the prefix, so that two caches do not share a store by accident."""
        return self.cache_name or self._prefix.strip("_").lower().replace("_", "-")

    @property
    def is_named(self) -> bool:
        """Whether `name` has been chosen, by ``cache_name`` or by a prefix of the cache's own."""
        return bool(self.cache_name) or self._prefix != DEFAULT_PREFIX

    @property
    def sqlite_place(self) -> Place:
        """The database file of ``backend=sqlite``, and a warning if it cannot be written; reads the file system."""
        path, variable = self.sqlite.path, f"{self._prefix}SQLITE__PATH"
        return find_place(path, self.name, variable, is_directory=self.sqlite.is_directory)

    @property
    def sqlite_path(self) -> Path:
        """The database file of ``backend=sqlite``; ``:memory:`` if no file can be written."""
        return self.sqlite_place.path

    @property
    def filesystem_place(self) -> Place:
        """The directory of ``backend=filesystem``, and a warning if it cannot be written; reads the file system."""
        return find_directory(self.filesystem.path, self.name, f"{self._prefix}FILESYSTEM__PATH")

    @property
    def place(self) -> Place | None:
        """The path of the backend's files, None for a backend without files; reads the file system."""
        if self.backend == "filesystem":
            return self.filesystem_place
        return self.sqlite_place if self.backend == "sqlite" else None

    def source_of(self, path: tuple[str, ...]) -> Source:
        """Where the value at *path* came from; "code" for settings made without validation (``model_construct``)."""
        return self._sources.get(path, CODE_SOURCE)

    @classmethod
    def variables(cls) -> Iterator[Variable]:
        """Every setting as a variable, in the order of the model."""
        for name, field in cls.model_fields.items():
            section = field.annotation
            if isinstance(section, type) and issubclass(section, Section):
                for inner, inner_field in section.model_fields.items():
                    yield Variable(f"{name}__{inner}".upper(), (name, inner), inner_field)
            else:
                yield Variable(name.upper(), (name,), field)
