"""The options of MongoDB storages for type checkers and editors; nothing here is needed at run time.

The driver's options are the arguments of ``pymongo.AsyncMongoClient``, spelt as in its documentation; a test compares
the two. At run time the installed driver decides which options exist. Options for the data of applications have no
effect on the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from bson.codec_options import TypeRegistry
from pymongo.auth_oidc_shared import OIDCCallback
from pymongo.driver_info import DriverInfo
from pymongo.encryption_options import AutoEncryptionOpts
from pymongo.read_preferences import Nearest, Primary, PrimaryPreferred, Secondary, SecondaryPreferred
from pymongo.server_api import ServerApi

from aiohttp_cache_di.backends.options.typed import CacheOptions, NearOptions, SigningOptions, StorageOptions

__all__ = ["MongoDBBackendOptions", "MongoDBCacheOptions", "MongoDBDriverOptions"]


class MongoDBDriverOptions(TypedDict, total=False):
    """Arguments of ``pymongo.AsyncMongoClient``."""

    host: str | Sequence[str] | None
    """Address, ``mongodb://user:password@host:27017``, or a name, or several. Default: "localhost"."""
    port: int | None
    """TCP port where *host* has none. Default: 27017."""
    username: str | None
    """User name, if it is not in the address. Default: None."""
    password: str | None
    """Password, if it is not in the address. Default: None."""
    authSource: str
    """Database in which the user is defined. Default: "admin"."""
    authMechanism: str
    """How the user logs in: "SCRAM-SHA-256", "MONGODB-X509", "MONGODB-AWS" … Default: negotiated with the server."""
    authMechanismProperties: str | Mapping[str, str | bool | OIDCCallback]
    """Further options of the mechanism. Default: none."""
    authOIDCAllowedHosts: list[str]
    """Patterns of servers to which an OIDC token may be sent. Default: the driver's."""
    document_class: type[Any]
    """Of no effect on the cache. Default: dict."""
    type_registry: TypeRegistry | None
    """Of no effect on the cache. Default: None."""
    tz_aware: bool | None
    """Of no effect on the cache. Default: False."""
    tzinfo: Any
    """Of no effect on the cache. Default: None."""
    datetime_conversion: Any
    """Of no effect on the cache. Default: "datetime"."""
    unicode_decode_error_handler: str
    """Of no effect on the cache. Default: "strict"."""
    uuidRepresentation: str
    """Of no effect on the cache. Default: "unspecified"."""
    connect: bool | None
    """Of no effect here: the client connects when it is first used. Default: None."""
    directConnection: bool
    """Whether to talk to this server alone, rather than to its replica set. Default: False."""
    replicaSet: str | None
    """Name of the replica set. Default: None."""
    loadBalanced: bool
    """Whether a load balancer is in front of the servers. Default: False."""
    appname: str | None
    """Name of the application, as the server logs it. Default: None."""
    driver: DriverInfo | None
    """Name of a library on top of the driver, as the server logs it. Default: None."""
    compressors: str
    """Compression on the wire, by preference: "zstd,zlib,snappy". Default: none."""
    zlibCompressionLevel: int
    """Level of zlib, from -1 to 9. Default: -1."""
    maxPoolSize: int | None
    """Most connections to one server; 0 or None for no bound. Default: 100."""
    minPoolSize: int
    """Least number of connections to one server. Default: 0."""
    maxIdleTimeMS: int | None
    """Milliseconds that a connection may idle; None for no limit. Default: None."""
    maxConnecting: int
    """Most connections that are being opened at the same time. Default: 2."""
    waitQueueTimeoutMS: int | None
    """Milliseconds that an operation waits for a connection; None for no limit. Default: None."""
    waitQueueMultiple: int | None
    """Of no effect in newer drivers. Default: None."""
    timeoutMS: int | None
    """Milliseconds for a whole operation, in place of the other limits. Default: None."""
    socketTimeoutMS: int | None
    """Milliseconds that the server may be silent. Default: 10000."""
    connectTimeoutMS: int | None
    """Milliseconds that opening a connection may take. Default: 20000."""
    serverSelectionTimeoutMS: int
    """Milliseconds that an operation waits for a suitable server. Default: 5000."""
    heartbeatFrequencyMS: int | None
    """Milliseconds between checks of the servers. Default: 10000."""
    localThresholdMS: float
    """Milliseconds of latency beyond the nearest server's within which a server may be read from. Default: 15."""
    serverMonitoringMode: str
    """How servers are monitored: "auto", "stream" or "poll". Default: "auto"."""
    server_selector: Callable[[Any], Any] | None
    """Chooses among servers. Default: None."""
    event_listeners: Sequence[Any]
    """Listeners of ``pymongo.monitoring``. Default: none."""
    retryReads: bool
    """Whether a read is repeated once after a network error. Default: True."""
    retryWrites: bool
    """Whether a write is repeated at once after a network error. Default: False: the cache repeats it later."""
    max_adaptive_retries: int
    """How often an operation is repeated while a server is overloaded. With newer drivers. Default: the driver's."""
    maxAdaptiveRetries: int
    """The same, as an address spells it. With newer drivers. Default: the driver's."""
    enable_overload_retargeting: bool
    """Whether another server is tried then. With newer drivers. Default: the driver's."""
    enableOverloadRetargeting: bool
    """The same, as an address spells it. With newer drivers. Default: the driver's."""
    readPreference: str
    """The servers to read from: "primary", "secondaryPreferred" … Default: "primary"."""
    read_preference: Primary | PrimaryPreferred | Secondary | SecondaryPreferred | Nearest
    """The same as an object of the driver. Default: ``Primary()``."""
    readPreferenceTags: str | Sequence[str]
    """Tags of the servers to read from: "dc:ny,rack:1". Default: none."""
    maxStalenessSeconds: int
    """Seconds that a server to read from may be behind the primary; -1 for no limit. Default: -1."""
    readConcernLevel: str | None
    """The read concern: "local", "majority" … Default: the server's."""
    w: int | str
    """How many servers have to acknowledge a write: a number or "majority". Default: the server's."""
    wTimeoutMS: int
    """Milliseconds to wait for the servers of *w*. Default: 0, for no limit."""
    journal: bool
    """Whether a write has to be in the journal. Default: the server's."""
    fsync: bool
    """Whether a write has to be on the disk. Default: the server's."""
    srvServiceName: str
    """Name of the service, for ``mongodb+srv``. Default: "mongodb"."""
    srvMaxHosts: int
    """Most servers that are used, for ``mongodb+srv``; 0 for all. Default: 0."""
    srvAllowedHostsSuffix: str
    """What the servers' names have to end with, for ``mongodb+srv``. With newer drivers. Default: the driver's."""
    srv_host_validator: Callable[..., Any] | None
    """Returns whether a server may be used, for ``mongodb+srv``. With newer drivers. Default: None."""
    server_api: ServerApi | None
    """Version of the server's stable interface. Default: None."""
    auto_encryption_opts: AutoEncryptionOpts | None
    """Encryption by the driver. Default: None."""
    tls: bool
    """Whether connections are encrypted. Default: False; with ``mongodb+srv`` True."""
    ssl: bool
    """The older name of ``tls``. Default: as ``tls``."""
    tlsCAFile: str
    """Path of a file of certificate authorities (PEM). Default: the system's."""
    tlsCRLFile: str
    """Path of a file of revoked certificates (PEM). Default: none."""
    tlsCertificateKeyFile: str
    """Path of the client's certificate and private key (PEM). Default: none."""
    tlsCertificateKeyFilePassword: str | None
    """Password of the private key. Default: None."""
    tlsAllowInvalidCertificates: bool
    """Whether any certificate of the server is accepted. Default: False."""
    tlsAllowInvalidHostnames: bool
    """Whether the certificate may be for another name. Default: False."""
    tlsDisableOCSPEndpointCheck: bool
    """Whether OCSP services are not asked if the certificate has been revoked. Default: False."""
    tlsInsecure: bool
    """Both of the above. Default: False."""


class MongoDBCacheOptions(StorageOptions, SigningOptions, NearOptions, MongoDBDriverOptions, total=False):
    """Options of `MongoDBCache` in addition to its named arguments."""


class MongoDBBackendOptions(CacheOptions, NearOptions, MongoDBDriverOptions, total=False):
    """Options of `MongoDBBackend` in addition to its named arguments."""

    autoclose: bool
    """Close the connections when a session that uses the backend is closed. Default: False."""
