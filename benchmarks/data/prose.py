"""Real prose that is on the machine anyway: the docstrings of the pinned packages, read from their sources without importing them."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("pyspark", "pandas", "numpy", "huggingface_hub", "datasets", "duckdb", "fsspec")
"""Where the text comes from, in the order it is read; all are pinned, so that the text is the same on every machine."""

_SHORTEST = 80  # characters; below that a paragraph is a signature or a heading, not prose
_LONGEST = 4_000
_BLANK = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Passage:
    """One paragraph of documentation."""

    package: str
    name: str
    """The dotted name of what is documented, for example ``pyspark.sql.DataFrame.join``."""
    text: str


@functools.cache
def passages() -> tuple[Passage, ...]:
    """Every distinct paragraph of every package, in the order of files and lines."""
    return tuple(_distinct())


def _distinct() -> Iterator[Passage]:
    seen: set[str] = set()
    for package in PACKAGES:
        root = _folder(package)
        for path in sorted(root.rglob("*.py"), key=lambda found: found.relative_to(root).as_posix()):
            if "tests" in path.parts or "_vendor" in path.parts:
                continue
            module = ".".join([package, *path.relative_to(root).with_suffix("").parts])
            for name, docstring in _docstrings(path, module.removesuffix(".__init__")):
                for paragraph in _BLANK.split(docstring):
                    text = paragraph.strip()
                    if _SHORTEST <= len(text) <= _LONGEST and text not in seen:
                        seen.add(text)
                        yield Passage(package, name, text)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {package} is not installed: run `make venv`")
    return Path(next(iter(spec.submodule_search_locations)))


def _docstrings(path: Path, module: str) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:  # templates that packages ship as .py files
        return
    pending: list[tuple[str, ast.AST]] = [(module, tree)]
    while pending:
        name, node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if docstring := ast.get_docstring(node):
                yield name, docstring
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named = [child for child in node.body if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
                pending.extend((f"{name}.{child.name}", child) for child in reversed(named))
