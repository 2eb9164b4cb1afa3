"""`PartlyReadError`: a read of which a part has failed."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp_cache_di.backends.store.contract import Found
from aiohttp_cache_di.errors import StorageError

__all__ = ["PartlyReadError"]


class PartlyReadError(StorageError):
    """Some servers of a store have not answered a `get`; this error has the answers of the others.

    Args:
        answers: in the order of the keys; an error for each key that could not be looked up.
    """

    def __init__(self, answers: Sequence[Found | StorageError | None]) -> None:
        missing = [each for each in answers if isinstance(each, StorageError)]
        super().__init__(f"{len(missing)} of {len(answers)} keys could not be looked up: {missing[0]}")
        self.__cause__: BaseException | None = missing[0].__cause__
        self.answers = answers
