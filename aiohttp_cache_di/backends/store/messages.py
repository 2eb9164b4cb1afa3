"""What may be shown of the message of an error: a driver's may repeat its arguments, such as a password."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import quote

from aiohttp_cache_di.lazy import compiled_later

__all__ = ["message_of"]

MAX_MESSAGE_CHARS: Final = 300
USERINFO: Final = compiled_later(r"//[^/\s]*@")  # credentials in any URL


def message_of(error: BaseException, secrets: Collection[str] = ()) -> str:
    """The message of *error* on one line; "" if it contains one of *secrets*, as it is, quoted or encoded."""
    if isinstance(error, OSError) and error.errno is None:  # not a message of the operating system
        return ""
    message = " ".join(str(error).split())
    forms = {form for secret in secrets if secret for form in (secret, repr(secret)[1:-1], quote(secret, safe=""))}
    if USERINFO.search(message) or any(form in message for form in forms):
        return ""
    return message[:MAX_MESSAGE_CHARS]
