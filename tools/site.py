"""A hook of mkdocs (see `mkdocs.yml`) that adds pages from outside of docs/ to the site, and adjusts links to them.

Pages in docs/ link to files of the project by relative paths such as `../examples/gateway.py`, which work for readers
of the repository. On the site, the content of these files is on generated pages, and the links lead there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]

# The page of the site that has the content of each file of the project.
PAGES: Final = {
    "benchmarks/README.md": "costs.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
CHART: Final = "images/chart.svg"
_LINK: Final = re.compile(r"\]\((?:\.\./)+([\w./-]+)(#[\w-]+)?\)")
_LANGUAGES: Final = {".py": "python", ".yaml": "yaml", ".json": "json"}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the chart."""
    for path, page in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8").replace("](results/chart.svg)", f"]({CHART})")
        files.append(File.generated(config, page, content=_without_local_links(text)))
    files.append(File.generated(config, "examples.md", content=examples()))
    files.append(File.generated(config, CHART, abs_src_path=str(ROOT / "benchmarks" / "results" / "chart.svg")))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Replace links from pages in docs/ to files of the project by links to the pages of these files."""
    if "/" in page.file.src_uri:
        return markdown  # below docs/, where ../ leads to docs/
    return _LINK.sub(lambda link: f"]({page_of(link[1])})", markdown)


def page_of(path: str) -> str:
    """The page of the site with the content of *path*, a file of the project.

    Raises:
        ValueError: there is no such page, so that a link to it would be broken on the site.
    """
    if path.startswith("examples/"):
        return "examples.md" if path == "examples/" else f"examples.md#{_anchor(path.removeprefix('examples/'))}"
    if path not in PAGES:
        raise ValueError(f"docs/ links to {path}, which is not on the site: see tools/site.py")
    return PAGES[path]


def examples() -> str:
    """A page with all examples, each in a section named after its file."""
    folder = ROOT / "examples"
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in _LANGUAGES and "demo" not in path.parts]
    parts = [
        f"## {path.relative_to(folder)} {{ #{_anchor(str(path.relative_to(folder)))} }}\n\n"
        f"```{_LANGUAGES[path.suffix]}\n{path.read_text(encoding='utf-8')}```\n"
        for path in found
        if path.name not in {"conftest.py", "__init__.py"} and path.stat().st_size < 20_000
    ]
    return "\n".join(["# Examples\n\nWhole programs, of the folder `examples/`. Each runs in a test.\n", *parts])


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _without_local_links(text: str) -> str:
    """*text* with links to docs/ adjusted to the site, and without links to files that are not on the site."""
    text = re.sub(r"\]\((?:\.\./)?docs/([\w./-]+(?:#[\w-]+)?)\)", r"](\1)", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|images/)(?![\w-]+\.md)[^)]*\)", r"\1", text)
