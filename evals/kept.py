"""What a tool said before is kept only as long as the tool is the same: its version, and the code behind it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from pathlib import Path

from tools.contract import Detector

HOUSE = "tools"


def code_of(tool: Detector) -> str:
    """A digest over the source of a detector, of all of `tools` that it imports, and of the data files beside it.

    A version that was forgotten to be raised must not let old scores pass for new ones. Empty for a detector from
    elsewhere, whose version must do.
    """
    start = getattr(tool, "_examine", type(tool)).__module__
    if not start.startswith(HOUSE + "."):
        return ""
    digest = hashlib.sha256()
    for name, path in sorted(_reached(start).items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    own = _source(start)
    for path in sorted(own.parent.glob(f"{own.stem}_*")) if own is not None else ():
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _reached(start: str) -> dict[str, Path]:
    """Modules of the house that `start` imports, directly or not, at the top or inside functions; by name."""
    found: dict[str, Path] = {}
    queue = [start]
    while queue:
        name = queue.pop()
        if name in found or not (path := _source(name)):
            continue
        found[name] = path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            queue += [name for name in names if name == HOUSE or name.startswith(HOUSE + ".")]
    return found


def _source(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # the name of a class or function, not of a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None
