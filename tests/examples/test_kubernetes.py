"""The manifests are ones that Kubernetes takes, and name settings that there are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from aiohttp_cache_di import CacheSettings

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"
MANIFESTS: list[dict[str, Any]] = [
    manifest for path in sorted(FOLDER.glob("*.yaml")) for manifest in yaml.safe_load_all(path.read_text())
]


def _named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in MANIFESTS if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_the_schema_of_kubernetes_takes_it(manifest: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate, of the group lint")
    validator.validate(manifest, "1.33", strict=True)


def test_its_variables_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in _named("Secret", "http-cache")["stringData"].items():
        (tmp_path / name).write_text(value)
    for name, value in _named("ConfigMap", "weather")["data"].items():
        monkeypatch.setenv(name, str(tmp_path) if name.endswith("SECRETS_DIR") else str(value))
    settings = CacheSettings()
    assert (settings.backend, settings.cache_name) == ("redis", "weather")
    assert settings.redis.password is not None
    assert settings.secret_key


def test_it_starts_an_example_that_there_is() -> None:
    spec = _named("Deployment", "weather")["spec"]["template"]["spec"]
    module, _, factory = spec["containers"][0]["command"][2].partition(":")
    assert callable(getattr(import_module(module), factory))
    assert spec["initContainers"][0]["command"] == ["aiohttp-cache", "check"]
