"""The options of DynamoDB storages as type checkers and editors see them; nothing here is needed at run time.

Those of the driver are the arguments of aiobotocore's ``create_client``, and a test compares the two. The driver
has no types of its own.
"""

from __future__ import annotations

from typing import Any, TypedDict

from aiohttp_cache_di.backends.options.typed import CacheOptions, NearOptions, SigningOptions, StorageOptions

__all__ = ["DynamoDBBackendOptions", "DynamoDBDriverOptions", "DynamoDbCacheOptions"]


class DynamoDBDriverOptions(TypedDict, total=False):
    """Arguments of aiobotocore's ``create_client``."""

    region_name: str | None
    """Region of the table. Default: None, for where boto finds it: AWS_REGION, a profile."""
    endpoint_url: str | None
    """URL of another endpoint than AWS's own. Default: None."""
    aws_access_key_id: str | None
    """Credentials: the key's id. Default: None, for what boto finds."""
    aws_secret_access_key: str | None
    """Credentials: the secret. Default: None, for what boto finds."""
    aws_session_token: str | None
    """Credentials: the token of a session. Default: None, for what boto finds."""
    aws_account_id: str | None
    """Credentials: the account. Default: None, for what boto finds."""
    api_version: str | None
    """Version of the service's interface. Default: None, for the newest."""
    use_ssl: bool
    """Whether connections are encrypted. Default: True."""
    verify: bool | str | None
    """Whether the server's certificate is verified, or the path of a file of authorities. Default: None, for yes."""
    config: Any
    """Timeouts in seconds, proxies and the like, as ``aiobotocore.config.AioConfig`` has them. Default: None."""


class _OwnOptions(NearOptions, total=False):
    """What only stores in DynamoDB have."""

    consistent_reads: bool
    """Never read what another process has just replaced, at twice the price. Default: False."""


class DynamoDbCacheOptions(StorageOptions, SigningOptions, _OwnOptions, DynamoDBDriverOptions, total=False):
    """Options of `DynamoDbCache` beside those that it names."""


class DynamoDBBackendOptions(CacheOptions, _OwnOptions, DynamoDBDriverOptions, total=False):
    """Options of `DynamoDBBackend` beside those that it names."""

    autoclose: bool
    """Close the connections when a session that uses the backend is closed. Default: False."""
