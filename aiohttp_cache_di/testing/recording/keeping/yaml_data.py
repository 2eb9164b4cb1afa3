"""YAML that is safe to read and easy to edit; the Python objects in cassettes of vcrpy are read as plain data."""

from __future__ import annotations

from typing import Any, Final

from aiohttp_cache_di.errors import MissingDependencyError

try:
    import yaml
    from yaml import YAMLError
except ImportError as _exc:
    raise MissingDependencyError("recordings need PyYAML: pip install 'aiohttp-cache-di[testing]'") from _exc

__all__ = ["YAMLError", "dumped_yaml", "loaded_yaml"]

_YAML: Final[Any] = yaml

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


_LOADER: Final[Any] = _made_loader()


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as block scalars, and never uses anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def loaded_yaml(text: str) -> Any:
    """The content of *text*.

    Raises:
        YAMLError: it is not YAML, or has tags that would run code.
    """
    return _YAML.load(text, Loader=_LOADER)


def dumped_yaml(content: Any) -> str:
    """*content* as YAML."""
    text: str = _YAML.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return text
