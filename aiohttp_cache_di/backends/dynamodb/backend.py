"""The public classes: a backend that stores responses in DynamoDB, and a storage by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from aiohttp_cache_di.arguments import refuse_unknown
from aiohttp_cache_di.backends.base import CacheBackend
from aiohttp_cache_di.backends.dynamodb.client import driver_options
from aiohttp_cache_di.backends.dynamodb.items import Layout
from aiohttp_cache_di.backends.dynamodb.store import DynamoDBStore
from aiohttp_cache_di.backends.options.values import (
    BACKEND_OPTIONS,
    NEAR_OPTIONS,
    of_backend,
    of_driver,
    of_storage,
    refuse_unusable,
)
from aiohttp_cache_di.backends.wrap.items import StackCache
from aiohttp_cache_di.backends.wrap.making import make_stack
from aiohttp_cache_di.signatures import OptionsSignature

if TYPE_CHECKING:
    from aiohttp_cache_di.backends.dynamodb.typed import DynamoDBBackendOptions, DynamoDbCacheOptions

__all__ = ["DynamoDBBackend", "DynamoDbCache"]

NAMESPACE: Final = "responses"
OWN_OPTIONS: Final = NEAR_OPTIONS | {"consistent_reads"}


class DynamoDBBackend(CacheBackend):
    """A backend that keeps responses in a DynamoDB table, for any number of processes and machines.

    It takes the options of every backend (`CacheOptions`), those of copies in memory, ``consistent_reads``, and the
    arguments of aiobotocore's ``create_client`` (``region_name``, ``endpoint_url`` …). An item of DynamoDB has at most
    400 KB, so larger responses are stored in several items.
    """

    __signature__: OptionsSignature = OptionsSignature(
        "aiohttp_cache_di.backends.dynamodb.typed:DynamoDBBackendOptions"
    )

    def __init__(
        self,
        cache_name: str = "aiohttp-cache",
        key_attr_name: str = "k",
        val_attr_name: str = "v",
        create_if_not_exists: bool = False,
        context: Any = None,
        **kwargs: Unpack[DynamoDBBackendOptions],
    ) -> None:
        """Make a backend; no connection is opened yet.

        Args:
            cache_name: name or ARN of the table.
            key_attr_name: name of its partition key; it must not have a sort key.
            val_attr_name: name of the attribute for entries.
            create_if_not_exists: make the table if it does not exist, billed per request and with expiry switched on.
            context: an asynchronous context manager that returns a client, to use instead of making one; it serves one
                event loop, once. Or a client of aiobotocore, which is never closed here.
            kwargs: further options, each with a docstring of its own.

        Raises:
            TypeError: an option is not known.
            ConfigurationError: an option has a value that cannot be used.
            MissingDependencyError: aiobotocore is not installed.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS | driver_options())
        super().__init__(cache_name, **of_backend(kwargs))
        own = key_attr_name, val_attr_name, create_if_not_exists, context
        self.use(DynamoDbCache(cache_name, NAMESPACE, *own, **of_storage(kwargs)))


class DynamoDbCache(StackCache):
    """A storage in a DynamoDB table, under keys that begin with ``<namespace>:``.

    The size of the table is not bounded: ``max_entries`` and ``max_bytes`` have no effect here. With ``near_tier_s``
    changes by other processes are not noticed until a copy's seconds are over.
    """

    __signature__: OptionsSignature = OptionsSignature("aiohttp_cache_di.backends.dynamodb.typed:DynamoDbCacheOptions")

    def __init__(
        self,
        table_name: str,
        namespace: str = NAMESPACE,
        key_attr_name: str = "k",
        val_attr_name: str = "v",
        create_if_not_exists: bool = False,
        context: Any = None,
        **kwargs: Unpack[DynamoDbCacheOptions],
    ) -> None:
        """Make a storage; no connection is opened yet.

        Args:
            table_name: name or ARN of the table.
            namespace: first part of every key.
            key_attr_name: name of the table's partition key; it must not have a sort key.
            val_attr_name: name of the attribute for entries.
            create_if_not_exists: make the table if it does not exist.
            context: a client, or a context manager for one; see `DynamoDBBackend`.
            kwargs: further options, each with a docstring of its own; options that only a backend uses are ignored.

        Raises:
            TypeError, ConfigurationError, MissingDependencyError: as `DynamoDBBackend`.
        """
        refuse_unknown(type(self).__name__, kwargs, BACKEND_OPTIONS | OWN_OPTIONS | driver_options())
        consistent = kwargs.get("consistent_reads", False)
        refuse_unusable({"create_if_not_exists": create_if_not_exists, "consistent_reads": consistent})
        layout = Layout(table_name, namespace, key_attr_name, val_attr_name)
        super().__init__(
            make_stack(
                lambda codec, _: DynamoDBStore(
                    layout,
                    codec=codec,
                    context=context,
                    create=create_if_not_exists,
                    consistent_reads=consistent,
                    options=of_driver(kwargs, OWN_OPTIONS),
                ),
                kwargs,
                table_name,
                namespace,
            )
        )

    def __repr__(self) -> str:
        store = cast(DynamoDBStore, self.stack.store)
        return f"<{type(self).__name__} {store.layout.table}:{store.layout.namespace} at {store.where}>"
