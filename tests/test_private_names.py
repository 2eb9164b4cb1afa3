"""Private names of other packages are used only in the modules that isolate those of aiohttp and of drivers."""

from __future__ import annotations

from tests.sources import sources

OF_ITS_OWN = {"aiohttp", "aiohttp_cache_di", "aiosqlite"}
"""Packages with a module for their private names."""
ALLOWED = {
    "_asdict": "documented of named tuples",
    "_replace": "documented of named tuples",
    "_log_destroy_pending": "of asyncio's tasks; done without where it is missing",
    "_loop": "of a ClientSession, in response.py: see _aiohttp/names.py",
    "_resolve_charset": "of a ClientSession, in response.py: see _aiohttp/names.py",
    "_BaseRequestContextManager": "for type checkers only",
}


def is_private(name: str) -> bool:
    """Whether *name* begins with an underscore and is not one of Python's own."""
    return name.startswith("_") and not name.endswith("__")


def test_no_private_name_is_imported() -> None:
    assert [
        f"{source.name} imports {name} of {module}"
        for source in sources()
        for module, name in source.imported
        if is_private(name) and module.partition(".")[0] not in OF_ITS_OWN
    ] == []


def test_no_private_attribute_of_another_object_is_read_that_is_not_ours() -> None:
    """Exempt are attributes of ``self`` (other tests cover those of bases) and those that the package's classes set."""
    ours = {name for each in sources() for name in each.own | each.defined | each.assigned | each.texts} - {"_loop"}
    allowed = ours.union(ALLOWED)
    assert [
        f"{source.name}:{line} reads {name}"
        for source in sources()
        for name, line in source.read
        if source.path.parent.name != "_aiohttp" and is_private(name) and name not in allowed
    ] == []
