"""A safe YAML loader, which also reads the Python objects in cassettes of vcrpy, as plain data."""

from __future__ import annotations

from typing import Any, Final

import yaml

__all__ = ["LOADER"]

_PYTHON: Final = "tag:yaml.org,2002:python/"
# The types of a response's URL in cassettes of early releases of vcrpy. It is ignored: the request has it as text.
_URLS: Final = ("yarl.URL", "yarl._url.URL", "urllib.parse.SplitResult")


def _made_loader() -> Any:
    safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader: Any = type("Loader", (safe,), {})
    for name in ("str", "unicode"):
        loader.add_constructor(f"{_PYTHON}{name}", _text)
    loader.add_constructor(f"{_PYTHON}tuple", _list)
    loader.add_constructor(f"{_PYTHON}object/new:_io.BytesIO", _file)
    loader.add_constructor(f"{_PYTHON}object/apply:builtins.iter", _pieces)
    for name in _URLS:
        loader.add_constructor(f"{_PYTHON}object/new:{name}", _nothing)
    return loader


def _text(loader: Any, node: Any) -> Any:
    return loader.construct_scalar(node)


def _list(loader: Any, node: Any) -> Any:
    return loader.construct_sequence(node, deep=True)


def _file(loader: Any, node: Any) -> Any:
    """The content of a file (BytesIO) that was sent as a body."""
    return loader.construct_mapping(node, deep=True)["state"][0]


def _pieces(loader: Any, node: Any) -> Any:
    """The chunks of an iterator that was sent as a body."""
    return loader.construct_mapping(node, deep=True)["args"][0]


def _nothing(loader: Any, node: Any) -> None:
    return None


LOADER: Final[Any] = _made_loader()
"""The ``Loader`` argument of `yaml.load`."""
