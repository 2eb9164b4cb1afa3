"""The Python of the pages in docs/, to be run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["DOCS", "as_module", "block_with", "blocks"]

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    """The blocks of Python of *page*, in their order."""
    return re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)


def block_with(page: str, name: str) -> str:
    """The one block of *page* that matches *name*, a regular expression."""
    (code,) = (code for code in blocks(page) if re.search(rf"\b{name}\b", code))
    return code


def as_module(code: str, name: str) -> Any:
    """Run *code* as a module; it stays in `sys.modules`, because frameworks look it up by its name."""
    module = ModuleType(f"page_{name}")
    sys.modules[module.__name__] = module
    exec(compile(code, f"{name}.py", "exec", dont_inherit=True), vars(module))  # noqa: S102  # ours
    return module
