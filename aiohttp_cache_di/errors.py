"""Every exception of the package.

::

    CacheError
    ├── ConfigurationError      (also ValueError)   a setting or argument has a value we cannot use
    ├── MissingDependencyError  (also ImportError)  an optional driver is not installed; names the extra
    ├── LifecycleError          (also RuntimeError) something was used before it was opened or after it was closed
    └── StorageError                                a store failed; never reaches the caller of a request
        ├── UnreadableEntryError                    stored bytes are not an entry we wrote, or not for this key
        └── StorageTimeoutError (also TimeoutError) a storage operation outlived its deadline
"""

from __future__ import annotations

__all__ = [
    "CacheError",
    "ConfigurationError",
    "LifecycleError",
    "MissingDependencyError",
    "StorageError",
    "StorageTimeoutError",
    "UnreadableEntryError",
]


class CacheError(Exception):
    """Base of all exceptions that this package defines."""


class ConfigurationError(CacheError, ValueError):
    """A setting or an argument has a value that cannot be used; the message names it and what is accepted."""


class MissingDependencyError(CacheError, ImportError):
    """An optional dependency is needed and not installed; the message names the extra that installs it."""


class LifecycleError(CacheError, RuntimeError):
    """Something was used before it was opened or after it was closed."""


class StorageError(CacheError):
    """An operation of a store failed; counted and logged, never raised to the caller of a request."""


class UnreadableEntryError(StorageError):
    """Stored bytes are damaged, foreign, of another version, wrongly signed, or belong to another key."""


class StorageTimeoutError(StorageError, TimeoutError):
    """A storage operation did not end within its deadline."""
