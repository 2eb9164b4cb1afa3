"""The options of MongoDB storages as type checkers and editors see them; nothing here is needed at run time.

Those of the driver are the arguments of ``pymongo.AsyncMongoClient``, spelt as its documentation spells them, and a
test compares the two. Which of them there are is for the driver that is installed to say; one that concerns what
applications store is of no effect on the cache.
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
    """User name, unless the address has it. Default: None."""
    password: str | None
    """Password, unless the address has it. Default: None."""
    authSource: str
    """Database that knows the user. Default: "admin"."""
    authMechanism: str
    """How the user logs in: "SCRAM-SHA-256", "MONGODB-X509", "MONGODB-AWS" … Default: as the server wants it."""
    authMechanismProperties: str | Mapping[str, str | bool | OIDCCallback]
    """Further options of the mechanism. Default: none."""
    authOIDCAllowedHosts: list[str]
    """Patterns of the servers that a token of OIDC may be sent to. Default: the driver's."""
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
    """Whether a load balancer stands before the servers. Default: False."""
    appname: str | None
    """Name of the application, as the server logs it. Default: None."""
    driver: DriverInfo | None
    """Name of a library on top of the driver, as the server logs it. Default: None."""
    compressors: str
    """Compression on the wire, by preference: "zstd,zlib,snappy". Default: none."""
    zlibCompressionLevel: int
    """Level of zlib, from -1 to 9. Default: -1."""
    maxPoolSize: int | None
    """Connections to one server at most; 0 or None for no bound. Default: 100."""
    minPoolSize: int
    """Connections to one server at least. Default: 0."""
    maxIdleTimeMS: int | None
    """Milliseconds that a connection may idle; None for no limit. Default: None."""
    maxConnecting: int
    """Connections that are opened at the same time. Default: 2."""
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
    """Milliseconds that an operation looks for a server that can be used. Default: 5000."""
    heartbeatFrequencyMS: int | None
    """Milliseconds between looks at the servers. Default: 10000."""
    localThresholdMS: float
    """Milliseconds that a server may be farther than the nearest one, to be read from. Default: 15."""
    serverMonitoringMode: str
    """How servers are looked at: "auto", "stream" or "poll". Default: "auto"."""
    server_selector: Callable[[Any], Any] | None
    """Chooses among servers. Default: None."""
    event_listeners: Sequence[Any]
    """Listeners of ``pymongo.monitoring``. Default: none."""
    retryReads: bool
    """Whether a read is tried again once after an error of the network. Default: True."""
    retryWrites: bool
    """Whether a write is tried again at once after an error of the network. Default: False: it is tried later."""
    max_adaptive_retries: int
    """How often an operation is tried again while a server is overloaded. With newer drivers. Default: the driver's."""
    maxAdaptiveRetries: int
    """The same, as an address spells it. With newer drivers. Default: the driver's."""
    enable_overload_retargeting: bool
    """Whether another server is tried then. With newer drivers. Default: the driver's."""
    enableOverloadRetargeting: bool
    """The same, as an address spells it. With newer drivers. Default: the driver's."""
    readPreference: str
    """From which servers is read: "primary", "secondaryPreferred" … Default: "primary"."""
    read_preference: Primary | PrimaryPreferred | Secondary | SecondaryPreferred | Nearest
    """The same as an object of the driver. Default: ``Primary()``."""
    readPreferenceTags: str | Sequence[str]
    """Tags of the servers to read from: "dc:ny,rack:1". Default: none."""
    maxStalenessSeconds: int
    """Seconds that a server may be behind, to be read from; -1 for no limit. Default: -1."""
    readConcernLevel: str | None
    """How far a write must have come to be read: "local", "majority" … Default: the server's."""
    w: int | str
    """How many servers have to have a write: a number or "majority". Default: the server's."""
    wTimeoutMS: int
    """Milliseconds that *w* is waited for. Default: 0, for no limit."""
    journal: bool
    """Whether a write has to be in the journal. Default: the server's."""
    fsync: bool
    """Whether a write has to be on the disk. Default: the server's."""
    srvServiceName: str
    """Name of the service, for ``mongodb+srv``. Default: "mongodb"."""
    srvMaxHosts: int
    """Servers that are used at most, for ``mongodb+srv``; 0 for all. Default: 0."""
    srvAllowedHostsSuffix: str
    """What the servers' names have to end with, for ``mongodb+srv``. With newer drivers. Default: the driver's."""
    srv_host_validator: Callable[..., Any] | None
    """Tells whether a server may be used, for ``mongodb+srv``. With newer drivers. Default: None."""
    server_api: ServerApi | None
    """Version of the server's stable interface. Default: None."""
    auto_encryption_opts: AutoEncryptionOpts | None
    """Encryption by the driver. Default: None."""
    tls: bool
    """Whether connections are encrypted. Default: False; with ``mongodb+srv`` True."""
    ssl: bool
    """The older name of ``tls``. Default: as ``tls``."""
    tlsCAFile: str
    """Path of a file of authorities (PEM). Default: those of the system."""
    tlsCRLFile: str
    """Path of a file of revoked certificates (PEM). Default: none."""
    tlsCertificateKeyFile: str
    """Path of the client's certificate and private key (PEM). Default: none."""
    tlsCertificateKeyFilePassword: str | None
    """Password of the private key. Default: None."""
    tlsAllowInvalidCertificates: bool
    """Whether any certificate of the server will do. Default: False."""
    tlsAllowInvalidHostnames: bool
    """Whether the certificate may be for another name. Default: False."""
    tlsDisableOCSPEndpointCheck: bool
    """Whether no service is asked if the certificate has been revoked. Default: False."""
    tlsInsecure: bool
    """Both of the above. Default: False."""


class MongoDBCacheOptions(StorageOptions, SigningOptions, NearOptions, MongoDBDriverOptions, total=False):
    """Options of `MongoDBCache` beside those that it names."""


class MongoDBBackendOptions(CacheOptions, NearOptions, MongoDBDriverOptions, total=False):
    """Options of `MongoDBBackend` beside those that it names."""

    autoclose: bool
    """Close the connections when a session that uses the backend is closed. Default: False."""
