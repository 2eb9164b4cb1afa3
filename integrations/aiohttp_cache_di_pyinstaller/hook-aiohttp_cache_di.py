"""What PyInstaller adds to an executable whose app imports the package; it reads these two names.

A class that a setting names (``BACKEND=package.module:Class``) is not known here: ``--hidden-import`` adds its module.
"""

# ruff: noqa: N999  # PyInstaller prescribes the name of the file

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_PACKAGE = find_spec("aiohttp_cache_di")
_LOADED_BY_NAME = {  # each by the package in which it is, as far as that is installed
    "aiobotocore": ("aiobotocore.config", "aiobotocore.session", "botocore.exceptions", "botocore.session"),
    "dependency_injector": ("dependency_injector.errors", "dependency_injector.wiring"),  # by its compiled modules
    "fcntl": ("fcntl",),
    "hiredis": ("hiredis",),
    "redis": (
        "redis.asyncio",
        "redis.asyncio.cluster",
        "redis.asyncio.connection",
        "redis.asyncio.retry",
        "redis.asyncio.sentinel",
        "redis.backoff",
        "redis.crc",
        "redis.exceptions",
    ),
    "zlib_ng": ("zlib_ng.zlib_ng",),
}

hiddenimports = [module for package, modules in _LOADED_BY_NAME.items() if find_spec(package) for module in modules]

datas = [
    (str(Path(directory, "admin", "assets")), "aiohttp_cache_di/admin/assets")
    for directory in (_PACKAGE and _PACKAGE.submodule_search_locations) or ()
]
