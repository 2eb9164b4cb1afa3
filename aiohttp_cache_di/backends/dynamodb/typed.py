"""The options of DynamoDB storages for type checkers and editors; nothing here is needed at run time.

The driver's options are the arguments of aiobotocore's ``create_client``, which has no types of its own; a test
compares the two.
"""

from __future__ import annotations

from typing import Any, TypedDict

from aiohttp_cache_di.backends.options.typed import CacheOptions, NearOptions, SigningOptions, StorageOptions

__all__ = ["DynamoDBBackendOptions", "DynamoDBDriverOptions", "DynamoDbCacheOptions"]


class DynamoDBDriverOptions(TypedDict, total=False):
    """Arguments of aiobotocore's ``create_client``."""

    region_name: str | None
    """Region of the table. Default: None, to let boto find it, as in AWS_DEFAULT_REGION or a profile."""
    endpoint_url: str | None
    """URL of an endpoint other than AWS's own. Default: None."""
    aws_access_key_id: str | None
    """Credentials: the key's id. Default: None, for what boto finds."""
    aws_secret_access_key: str | None
    """Credentials: the secret. Default: None, for what boto finds."""
    aws_session_token: str | None
    """Credentials: the token of a session. Default: None, for what boto finds."""
    aws_account_id: str | None
    """Credentials: the account. Default: None, for what boto finds."""
    api_version: str | None
    """Version of the service's API. Default: None, for the newest."""
    use_ssl: bool
    """Whether connections are encrypted. Default: True."""
    verify: bool | str | None
    """Whether to verify the server's certificate, or the path of a file of authorities. Default: None, for True."""
    config: Any
    """Timeouts in seconds, proxies and the like: an ``aiobotocore.config.AioConfig``. Default: None."""


class _OwnOptions(NearOptions, total=False):
    """Options of stores in DynamoDB alone."""

    consistent_reads: bool
    """Read consistently, so that entries just replaced by another process are not read, at twice the price.
    Default: False."""


class DynamoDbCacheOptions(StorageOptions, SigningOptions, _OwnOptions, DynamoDBDriverOptions, total=False):
    """Options of `DynamoDbCache` in addition to its named arguments."""


class DynamoDBBackendOptions(CacheOptions, _OwnOptions, DynamoDBDriverOptions, total=False):
    """Options of `DynamoDBBackend` in addition to its named arguments."""

    autoclose: bool
    """Close the connections when a session that uses the backend is closed. Default: False."""
