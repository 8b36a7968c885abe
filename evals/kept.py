"""What a tool said before is kept only as long as the tool is the same: its version, and the code behind it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tools.contract import Detector, Evidence
from tools.errors import NotFoundError
from tools.image import SourceImage
from tools.weights import weight

HOUSE = "tools"
APART = ("tools.contract", "tools.errors", "tools.image", "tools.weights")
"""Modules that are not followed, because what they do is compared itself: the decoded picture (`decoded`), the form of
evidence (what is kept must still have it), the weights that spoke (`still_pinned`)."""
Part = tuple[str, str]
"""A module, and one of its names; the empty name stands for all of it."""


def code_of(tool: Detector) -> str:
    """A digest over the source of a detector, of every part of `tools` that it reaches, and of the data beside it.

    A version that was forgotten to be raised must not let old scores pass for new ones; nor need a tool be asked again
    because a function that it never calls, or a comment, was changed. Empty for a detector from elsewhere, whose
    version must do.
    """
    start = getattr(tool, "_examine", type(tool)).__module__
    if not start.startswith(HOUSE + "."):
        return ""
    digest = hashlib.sha256()
    for part, source in sorted(reached(start).items()):
        digest.update(f"{part} {source}\n".encode())
    own = _source(start)
    for path in sorted(own.parent.glob(f"{own.stem}_*")) if own is not None else ():
        if path.suffix != ".py":
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def decoded(image: SourceImage) -> str:
    """A digest over what decoding gave: a tool sees this, and the bytes."""
    about = f"{image.format} {image.mode} {image.orientation} {image.frame} {image.rgb.shape}"
    return hashlib.sha256(about.encode() + image.rgb.tobytes()).hexdigest()[:16]


def still_pinned(evidence: Evidence) -> bool:
    """Whether the weights that spoke are those that would speak today."""
    try:
        return all(weight(name).sha256 == sha256 for name, sha256 in evidence.weights.items())
    except NotFoundError:
        return False


@dataclass(slots=True)
class _Module:
    """The top level of a module: its definitions by name, what it imports by name, and all other statements."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Part] = field(default_factory=dict)
    others: list[ast.stmt] = field(default_factory=list)


def reached(start: str) -> dict[Part, str]:
    """The parts of the house that the module `start` uses, directly or not, and their source without comments."""
    found: dict[Part, str] = {}
    queue: list[Part] = [(start, "")]
    while queue:
        part = queue.pop()
        module, name = part
        if part in found or module in APART or (parsed := _parsed(module, _source(module))) is None:
            continue
        if not name:
            found[part] = ""
            queue += [(module, other) for other in parsed.definitions]
            nodes = parsed.others
        else:
            nodes = parsed.definitions.get(name, [])
            queue += [parsed.imports[name]] if name in parsed.imports else []
        found[part] = "".join(_bare(node) for node in nodes)
        for node in nodes:
            queue += _used(module, parsed, node)
    return found


def _used(module: str, parsed: _Module, node: ast.AST) -> Iterator[Part]:
    """What a statement of `module` names: its own definitions, and what was imported, there or inside the statement."""
    imports = parsed.imports | _imported(node)
    whole = {id(n.value): n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            if inner.id in parsed.definitions:
                yield module, inner.id
            elif inner.id in imports:
                other, name = imports[inner.id]
                yield other, name or whole.get(id(inner), "")


def _imported(tree: ast.AST) -> dict[str, Part]:
    """Names of the house that are imported anywhere inside `tree`."""
    found: dict[str, Part] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner.startswith(HOUSE + "."):
                    found[alias.asname or alias.name] = (inner, "") if _source(inner) else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            found |= {a.asname: (a.name, "") for a in node.names if a.asname and a.name.startswith(HOUSE + ".")}
    return found


@cache
def _parsed(module: str, path: Path | None) -> _Module | None:
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = _Module(imports=_imported(tree))
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.definitions.setdefault(name, []).append(node)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}:
                    found.definitions.setdefault(name, []).append(node)
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                continue
            case _:
                found.others.append(node)
    return found


def _bare(node: ast.stmt) -> str:
    """A statement as its syntax, without comments, layout and docstrings."""
    copy = ast.parse(ast.unparse(node))
    for inner in ast.walk(copy):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kept = [n for n in inner.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
            inner.body = kept or [ast.Pass()]
    return ast.dump(copy)


def _source(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # the name of a class or function, not of a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None
