"""Mask the secrets of settings in texts of other packages, such as error messages of drivers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from aiohttp_cache_di.addresses import MASK, secrets_of
from aiohttp_cache_di.settings.model import CacheSettings

__all__ = ["without_secrets"]

MIN_MASKED_CHARS: Final = 4  # of a driver's option: a shorter value occurs in ordinary words


def without_secrets(text: str, settings: CacheSettings) -> str:
    """Return *text* with every secret of *settings* masked."""
    for secret in sorted(set(_secrets(settings)), key=len, reverse=True):
        for form in (secret, repr(secret)[1:-1]):
            text = text.replace(form, MASK)
    return text


def _secrets(settings: CacheSettings) -> Iterator[str]:
    yield from (key.get_secret_value() for key in settings.secret_key)
    if settings.redis.password is not None:
        yield settings.redis.password.get_secret_value()
    for url in (settings.redis.url, settings.mongodb.url):
        address = url.get_secret_value()
        secrets = list(secrets_of(address))
        yield from (*secrets, *([address] if secrets else ()))
    yield from _texts(settings.backend_options)


def _texts(value: object) -> Iterator[str]:
    """All texts in the options of a driver, any of which may be a secret."""
    if isinstance(value, (str, int)):
        if len(str(value)) >= MIN_MASKED_CHARS and not isinstance(value, bool):
            yield str(value)
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _texts(item)
            if not name.isidentifier():  # then it is no option, and may be a secret itself
                yield name
    elif isinstance(value, (list, tuple)):
        for item in cast("list[object]", value):
            yield from _texts(item)
