"""What settings take in code, as type checkers and editors see it; nothing here is needed at run time.

Made from the model by ``python -m tools.settings_types``, and a test says when that is to be done again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from os import PathLike
from typing import Any, Literal, TypedDict

from pydantic import SecretStr

from aiohttp_cache_di.policy.rules.expiration import ExpirationTime, UrlLifetime
from aiohttp_cache_di.policy.rules.windows import Window

__all__ = [
    "ClientSettingsOptions",
    "DynamoDBSettingsOptions",
    "FilesystemSettingsOptions",
    "MongoDBSettingsOptions",
    "RedisSettingsOptions",
    "SQLiteSettingsOptions",
    "SettingsOptions",
]


class SQLiteSettingsOptions(TypedDict, total=False):
    """What `SQLiteSettings` takes."""

    path: str | PathLike[str] | None
    """Database file, or the directory for it (then it may end in a slash); none: `<cache name>.sqlite` in the user's
    cache directory. It takes a path (~ is your home), or none. Default: none."""
    timeout: float | str | timedelta
    """How long to wait for another process's lock; keep it below storage_deadline. It takes a number of seconds, or a
    duration such as 250ms or 2s, up to 1m. Default: 150ms."""
    fast_save: bool | str
    """Do not wait for the disk; a power cut may lose everything stored. It takes true or false (also 1/0, yes/no,
    on/off). Default: false."""


class RedisSettingsOptions(TypedDict, total=False):
    """What `RedisSettings` takes."""

    url: SecretStr | str
    """Address of the server, the cluster or the sentinels. It takes redis://host:6379/0, redis+cluster://host,host,
    redis+sentinel://host,host/name, each with rediss for TLS, or unix:///path. Default: redis://localhost:6379/0."""
    username: str | None
    """User name, if it is not in the URL. It takes any text without quotes around it, or none. Default: none."""
    password: SecretStr | str | None
    """Password, if it is not in the URL. It takes a secret, without quotes. Default: none."""
    near_tier: float | str | timedelta | None
    """How long a process may use copies in memory of entries read from the server. It takes a number of seconds or a
    duration such as 250ms, 5m, 1h30m, 2d, or none. Default: none."""


class ClientSettingsOptions(TypedDict, total=False):
    """What `ClientSettings` takes."""

    cookies: bool | str
    """Keep cookies between requests, shared by all users. It takes true or false (also 1/0, yes/no, on/off). Default:
    false."""
    timeout: float | str | timedelta | None
    """Time limit of a whole request. It takes a number of seconds or a duration such as 250ms, 5m, 1h30m, 2d, or none.
    Default: 5m."""
    connect_timeout: float | str | timedelta | None
    """Time limit of opening a connection. It takes a number of seconds or a duration such as 250ms, 5m, 1h30m, 2d, or
    none. Default: 30s."""
    connections: int | str
    """Most connections (0: no limit). It takes a whole number from 0. Default: 100."""
    connections_per_host: int | str
    """Most connections to one host (0: no limit). It takes a whole number from 0. Default: 0."""
    trust_env: bool | str
    """Use proxies from HTTP_PROXY … and credentials from ~/.netrc. It takes true or false (also 1/0, yes/no, on/off).
    Default: false."""


class MongoDBSettingsOptions(TypedDict, total=False):
    """What `MongoDBSettings` takes."""

    url: SecretStr | str
    """Address of the server. It takes mongodb://host:27017 or mongodb+srv://host. Default:
    mongodb://localhost:27017."""
    database: str | None
    """Name of the database; none: the cache's name. It takes any text without quotes around it, or none. Default:
    none."""
    near_tier: float | str | timedelta | None
    """How long a process may use copies in memory of entries read from the server. It takes a number of seconds or a
    duration such as 250ms, 5m, 1h30m, 2d, or none. Default: none."""


class DynamoDBSettingsOptions(TypedDict, total=False):
    """What `DynamoDBSettings` takes."""

    table: str | None
    """Name of the table; none: the cache's name. It takes any text without quotes around it, or none. Default: none."""
    region: str | None
    """AWS region; none: as boto finds it (AWS_DEFAULT_REGION …). It takes any text without quotes around it, or none.
    Default: none."""
    endpoint: str | None
    """URL of an endpoint other than AWS's own. It takes https://host or http://host:port without a user, or none.
    Default: none."""
    create_table: bool | str
    """Create the table if it does not exist. It takes true or false (also 1/0, yes/no, on/off). Default: false."""
    consistent_reads: bool | str
    """Use consistent reads, at twice the price. It takes true or false (also 1/0, yes/no, on/off). Default: false."""
    near_tier: float | str | timedelta | None
    """How long a process may use copies in memory of entries read from the table. It takes a number of seconds or a
    duration such as 250ms, 5m, 1h30m, 2d, or none. Default: none."""


class FilesystemSettingsOptions(TypedDict, total=False):
    """What `FilesystemSettings` takes."""

    path: str | PathLike[str] | None
    """Directory of the files; none: `<cache name>` in the user's cache directory. It takes a path (~ is your home), or
    none. Default: none."""
    fsync: bool | str
    """Call fsync for each response before it counts as stored. It takes true or false (also 1/0, yes/no, on/off).
    Default: false."""


class SettingsOptions(TypedDict, total=False):
    """What `CacheSettings` takes."""

    _env_prefix: str
    """What the names of the variables begin with. Default: "AIOHTTP_CACHE_"."""
    _env_file: str | PathLike[str] | None
    """Path of a file of variables, for what the environment lacks; None for none. Default: ".env"."""
    _secrets_dir: str | PathLike[str] | None
    """The same as ``secrets_dir``, as pydantic-settings spells it. Default: None."""
    backend: Literal["memory", "sqlite", "redis", "filesystem", "dynamodb", "mongodb"] | str
    """Where responses are stored. It takes memory, sqlite, redis, filesystem, dynamodb, mongodb or
    package.module:Class. Default: sqlite."""
    cache_name: str | None
    """Name of the cache, its namespace or file; none: made from the prefix (`aiohttp-cache`). It takes any text without
    quotes around it, or none. Default: none."""
    cache_control: bool | str
    """Follow HTTP's caching rules (RFC 9111). It takes true or false (also 1/0, yes/no, on/off). Default: true."""
    expire_after: ExpirationTime
    """Lifetime of responses; with cache_control, of those that state none. It takes a number of seconds or a duration
    such as 250ms, 5m, 1h30m, 2d; a date (ISO 8601 or HTTP), 0 (do not cache), never or none. Default: none."""
    urls_expire_after: Mapping[str, UrlLifetime] | str
    """Lifetimes by URL pattern; the first match decides. It takes a JSON object of URL patterns and lifetimes, such as
    {"*.example.com/static/*": "1d"}; a rule may be {"expire_after": "5m", "override_origin": true, "stale_if_error":
    "1h", "stale_while_revalidate": "30s", "allowed_methods": ["GET"], "tags": ["static"]}. Default: {}."""
    allowed_codes: Collection[int | str] | str | None
    """Statuses of responses that are cached. It takes status codes, separated by commas or as a JSON list, or none for
    the mode's own. Default: none."""
    allowed_methods: Collection[str]
    """Methods of requests whose responses are cached. It takes HTTP methods, separated by commas or as a JSON list, or
    none. Default: GET,HEAD."""
    include_headers: bool | str
    """All request headers are part of the key. It takes true or false (also 1/0, yes/no, on/off). Default: false."""
    ignored_params: Iterable[str]
    """Parameters and headers that are neither part of the key nor stored. It takes names, separated by commas or as a
    JSON list, or none. Default: []."""
    post_as_query: Collection[str]
    """URL patterns for which POST is a query and cached like QUERY; for cache_control. It takes URL patterns, separated
    by commas or as a JSON list, or none. Default: []."""
    match_order: bool | str | None
    """The order of parameters and JSON names is part of the key; none: if cache_control is true. It takes true or false
    (also 1/0, yes/no, on/off), or none. Default: none."""
    shared: bool | str
    """Act as a shared cache: store nothing private. It takes true or false (also 1/0, yes/no, on/off). Default:
    false."""
    credential_headers: Iterable[str]
    """Further request headers that identify the user. It takes names of header fields, separated by commas or as a JSON
    list, or none. Default: []."""
    partition_cookies: Literal["effective", "explicit"]
    """Cookies that identify the user: all that are sent, or only those given to the request. It takes effective or
    explicit. Default: effective."""
    partition_tls: Literal["authorities", "context"]
    """What of a TLS context is part of the key: its authorities and certificate, or the object itself. It takes
    authorities or context. Default: authorities."""
    principals: Mapping[str, str] | str
    """Users of requests by URL pattern, instead of by their credentials. It takes a JSON object of URL patterns and
    names, such as {"*.example.com": "tenant-7"}. Default: {}."""
    shared_credentials: Collection[str]
    """URL patterns of upstreams for which all credentials are equivalent. It takes URL patterns, separated by commas or
    as a JSON list, or none. Default: []."""
    stale_if_error: Window
    """How long a stale response may be used instead of an error. It takes a number of seconds or a duration such as
    250ms, 5m, 1h30m, 2d; always or none. Default: none."""
    stale_while_revalidate: Window
    """How long a stale response may be used while it is validated. It takes a number of seconds or a duration such as
    250ms, 5m, 1h30m, 2d; always or none. Default: none."""
    heuristic_fraction: float | str
    """Fraction of the time since Last-Modified that is the lifetime of a response without one. It takes a number from 0
    to 1. Default: 0.1."""
    heuristic_with_query: bool | str
    """Apply heuristic_fraction to URLs with a query, too. It takes true or false (also 1/0, yes/no, on/off). Default:
    false."""
    max_variants: int | str
    """Most variants (Vary) stored for one URL. It takes a whole number from 1. Default: 16."""
    max_body_bytes: int | str | None
    """Largest body that is stored; none suits `filesystem`, which needs no memory for it. It takes a number of bytes or
    a size such as 500kB, 64MiB, 1GiB, or none. Default: 8MiB."""
    max_entries: int | str | None
    """Most responses stored. It takes a whole number from 1, or none. Default: none."""
    max_bytes: int | str | None
    """Largest size of the store; a Redis server has its own limit. It takes a number of bytes or a size such as 500kB,
    64MiB, 1GiB; auto (64MiB in memory, 1GiB in a file) or none. Default: auto."""
    secrets_dir: str | PathLike[str] | None
    """Directory of files that are named like variables and contain their values. It takes a path (~ is your home), or
    none. Default: none."""
    secret_key: Collection[SecretStr | str] | str
    """Keys that sign stored responses. It takes secrets of 16 characters or more, separated by commas or as a JSON
    list: the first signs, all verify. Default: none."""
    coalesce: bool | str
    """Send only one of equal concurrent requests to the origin. It takes true or false (also 1/0, yes/no, on/off).
    Default: true."""
    coalesce_timeout: float | str | timedelta
    """How long a request waits for the body of an equal one that has stalled or has no known end. It takes a number of
    seconds or a duration such as 250ms, 5m, 1h30m, 2d. Default: 2s."""
    lease: float | str | timedelta
    """How long other processes wait for a process that died during a request; 0: do not wait for others. It takes a
    number of seconds or a duration such as 250ms, 5m, 1h30m, 2d. Default: 2s."""
    storage_deadline: float | str | timedelta
    """Time limit of one operation on the store. It takes a number of seconds, or a duration such as 250ms or 2s, more
    than 0s up to 1m. Default: 250ms."""
    require_store: bool | str
    """A store that cannot be opened, read and written is an error at start-up. It takes true or false (also 1/0,
    yes/no, on/off). Default: false."""
    write_behind: bool | str
    """Store a response in the background, after passing it on. It takes true or false (also 1/0, yes/no, on/off).
    Default: true."""
    fast_lane: bool | str
    """Answer simple hits without aiohttp's request machinery. It takes true or false (also 1/0, yes/no, on/off).
    Default: true."""
    store_cookies: bool | str
    """Store Set-Cookie and send it with hits. It takes true or false (also 1/0, yes/no, on/off). Default: false."""
    backend_options: Mapping[str, Any] | str
    """Further keyword arguments of the backend class. It takes a JSON object of keyword arguments. Default: {}."""
