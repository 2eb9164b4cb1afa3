"""The page on monitoring and the dashboard name what there is."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from aiohttp_cache_di.telemetry import RESULTS, Saved
from aiohttp_cache_di.telemetry.counters import Counts
from aiohttp_cache_di.telemetry.metrics import METRICS
from aiohttp_cache_di.telemetry.otel import ATTRIBUTES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((ROOT / "examples" / "grafana.json").read_text(encoding="utf-8"))


def test_the_page_has_each_metric() -> None:
    found = re.search(r"<!-- metrics -->\n(.*?)<!-- end -->", PAGE, re.S)
    assert found is not None
    rows = found[1].splitlines()[2:]
    assert rows == [
        f"| `{one.name}` | `{one.otel_name}` ({one.unit}) | {one.kind} | {f'`{one.label}`' if one.label else 'none'} | "
        f"{one.help} |"
        for one in METRICS
    ]
    assert all(f"`{attribute}`" in PAGE for attribute in ATTRIBUTES.values())


def test_the_page_has_each_result_and_each_counter() -> None:
    assert all(f"| `{result}` | " in PAGE for result in RESULTS)
    assert all(f"`{name}`" in PAGE for name in {*Counts.__slots__} - {"errors"})
    assert all(f"| `{name}` | " in PAGE for name in Saved.__struct_fields__)


def test_what_the_page_imports_is_there() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                module = import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_for_metrics_that_exist_by_labels_that_they_have() -> None:
    names = {metric.name: metric for metric in METRICS}
    asked: set[str] = set()
    for expression in expressions():
        for name, selected in re.findall(r"(aiohttp_cache_\w+)\{([^}]*)\}", expression):
            base = re.sub(r"_(bucket|count|sum)$", "", name)
            assert names[base].kind == "histogram" if base != name else base in names
            labels = set(re.findall(r"(\w+)=~?", selected)) | {
                label.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for label in by.split(",")
            }
            assert labels <= {"cache", "le", names[base].label}
            asked.add(base)
        assert expression.count("(") == expression.count(")")
    assert asked == names.keys()
    (variable,) = (one for one in DASHBOARD["templating"]["list"] if one["name"] == "cache")
    assert variable["query"]["query"] == "label_values(aiohttp_cache_requests_total, cache)"


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in {"stat", "timeseries"}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} lies over another"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["refId"]
    assert {one["name"] for one in DASHBOARD["templating"]["list"]} == {"datasource", "cache"}
    assert isinstance(DASHBOARD["schemaVersion"], int)
