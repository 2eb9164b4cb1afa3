"""The options of Redis storages for type checkers and editors; nothing here is needed at run time.

The driver's options are the arguments of ``redis.asyncio.Redis`` and ``RedisCluster`` in the newest release that we
know; a test compares the two. At run time the installed driver decides which options exist. A default that is not given
here is the driver's.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypedDict

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.credentials import CredentialProvider

from aiohttp_cache_di.backends.options.typed import CacheOptions, NearOptions, SigningOptions, StorageOptions

__all__ = ["RedisBackendOptions", "RedisDriverOptions", "RedisOptions", "SentinelClient"]


class SentinelClient(Protocol):
    """A ``redis.asyncio.Sentinel``, which has no types of its own."""

    def master_for(self, service_name: str) -> Any:
        """A client of the primary of the service *service_name*."""


class RedisDriverOptions(TypedDict, total=False):
    """Arguments of the driver; they override the address."""

    host: str
    """Name or address of the server, in place of an address. Default: "localhost"."""
    port: int
    """TCP port of the server. Default: 6379."""
    db: str | int
    """Number of the database; a cluster has 0 alone. Default: 0."""
    username: str | None
    """User name, if it is not in the address. Default: None."""
    password: str | None
    """Password, if it is not in the address. Default: None."""
    credential_provider: CredentialProvider | None
    """Provides user name and password for each new connection, such as short-lived tokens. Default: None."""
    unix_socket_path: str | None
    """Path of a Unix domain socket. Default: None."""
    connection_pool: ConnectionPool | None
    """A pool whose settings are used. Default: None."""
    max_connections: int | None
    """The largest number of connections in a pool. Default: the driver's."""
    socket_timeout: float | None
    """Seconds that the server may be silent. Default: 1.0."""
    socket_connect_timeout: float | None
    """Seconds that opening a connection may take. Default: 1.0."""
    socket_keepalive: bool | None
    """Whether TCP keep-alive is on. Default: the driver's."""
    socket_keepalive_options: Mapping[int, int | bytes] | None
    """Options of TCP keep-alive, as ``socket.setsockopt`` takes them. Default: the driver's."""
    socket_read_size: int
    """Size in bytes of one read of a socket. With newer drivers. Default: the driver's."""
    health_check_interval: float
    """Seconds; of no effect: a connection that is silent for ``socket_timeout`` is given up. Default: 0."""
    retry: Retry | None
    """How the driver repeats a command. Default: never; the cache's circuit breaker decides when to try again."""
    retry_on_error: list[type[Exception]] | None
    """Errors after which the driver repeats a command. Default: None."""
    retry_on_timeout: bool
    """Whether the driver repeats a command that timed out. Default: False."""
    protocol: int | None
    """Version of the protocol: 2 or 3. Default: 2; connections for the near tier switch to 3 by themselves."""
    legacy_responses: bool
    """Whether replies of the newer protocol look like those of the older. With newer drivers. Default: the driver's."""
    client_name: str | None
    """Name of the connections, as ``CLIENT LIST`` shows it. Default: None."""
    lib_name: str | None
    """Name of the library, as ``CLIENT LIST`` shows it. Default: ours and the driver's."""
    lib_version: str | None
    """Version of the library, as ``CLIENT LIST`` shows it. Default: ours."""
    driver_info: Any
    """Name and version of the library in one, a ``redis.driver_info.DriverInfo``. With newer drivers. Default: ours."""
    redis_connect_func: Callable[[AbstractConnection], Awaitable[object] | object] | None
    """Called with each new connection. Default: None."""
    auto_close_connection_pool: bool | None
    """Has no effect: the store owns its connections. Default: None."""
    event_dispatcher: Any
    """A ``redis.event.EventDispatcher`` for the driver's events. With newer drivers. Default: the driver's."""
    maint_notifications_config: Any
    """A ``redis.maint_notifications.MaintNotificationsConfig``. With newer drivers. Default: the driver's."""
    ssl: bool
    """Whether connections are encrypted, as with an address ``rediss://``. Default: False."""
    ssl_ca_certs: str | None
    """Path of a file of certificate authorities (PEM). Default: None, for the system's."""
    ssl_ca_data: str | None
    """Certificate authorities (PEM). Default: None."""
    ssl_ca_path: str | None
    """Path of a directory of certificate authorities. With newer drivers. Default: None."""
    ssl_cert_reqs: str | ssl.VerifyMode
    """Whether the server has to present a certificate: "none", "optional" or "required". Default: "required"."""
    ssl_check_hostname: bool
    """Whether the certificate has to be for the server's name. Default: the driver's."""
    ssl_certfile: str | None
    """Path of the client's certificate (PEM). Default: None."""
    ssl_keyfile: str | None
    """Path of the client's private key (PEM). Default: None."""
    ssl_password: str | None
    """Password of the client's private key. With newer drivers. Default: None."""
    ssl_ciphers: str | None
    """Allowed ciphers, in OpenSSL's notation. Default: None."""
    ssl_min_version: ssl.TLSVersion | None
    """The oldest allowed version of TLS. Default: None."""
    ssl_include_verify_flags: list[ssl.VerifyFlags] | None
    """Verification flags to set. With newer drivers. Default: None."""
    ssl_exclude_verify_flags: list[ssl.VerifyFlags] | None
    """Verification flags to clear. With newer drivers. Default: None."""
    require_full_coverage: bool
    """For a cluster: whether it can be used only while every slot has a server. Default: the driver's."""
    dynamic_startup_nodes: bool
    """For a cluster: whether any of its servers may be asked for its map. With newer drivers. Default: the driver's."""
    address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None
    """For a cluster: maps the address that a server announces to the one to connect to. Default: None."""
    policy_resolver: Any
    """For a cluster: an ``AsyncPolicyResolver``, which routes commands. With newer drivers. Default: the driver's."""
    service_name: str
    """For sentinels: name of the service. Default: the one in the address."""
    sentinel_kwargs: Mapping[str, Any]
    """For sentinels: arguments of the connections to them. Default: as for the server."""
    min_other_sentinels: int
    """For sentinels: how many others have to agree on the server. Default: 0."""


class RedisOptions(StorageOptions, SigningOptions, NearOptions, RedisDriverOptions, total=False):
    """Options of `RedisCache` in addition to its named arguments."""


class RedisBackendOptions(CacheOptions, NearOptions, RedisDriverOptions, total=False):
    """Options of `RedisBackend` in addition to its named arguments."""

    autoclose: bool
    """Close the connections when a session that uses the backend is closed. Default: False."""
