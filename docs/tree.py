"""Writes the folder tree of the README from the first line of each module: `python docs/tree.py`.

`tests/test_readme.py` fails where the README does not hold what this prints.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tools", "agent", "ui", "finetune", "evals")
BEGIN, END = "<!-- tree: python docs/tree.py -->", "<!-- end of tree -->"
OTHER = {
    "agent/migrations/": "Alembic: the tables' history.",
    "agent/languages/": "The sentences of the plain template, one file a language.",
    "tools/trust/": "The C2PA trust list that ships, its source and its terms.",
    "tools/weights/": "Weights that were trained here, each with its card, and the pins of those that are fetched.",
    "evals/suites/": "What to measure: one TOML file a suite.",
    "finetune/oof/": "Out-of-fold scores that calibration is fitted on.",
    "schema/": "The JSON Schema of a report: the public contract.",
    "docs/": "What a verdict means, API, configuration, metrics, containers, the model card, pictures.",
    "tests/": "Mirrors the packages.",
    "Dockerfile": "An image of the service and its workers; docker-compose.yml adds PostgreSQL and vLLM.",
    "Makefile": "Every command there is.",
}


def tree() -> str:
    """The tree as a Markdown code block, one line a file."""
    run = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    files = sorted(run.stdout.decode().split("\n"))
    lines = []
    for package in PACKAGES:
        lines.append(f"{package}/  {_first_line(ROOT / package / '__init__.py')}")
        rooms = [name for name in OTHER if name.startswith(package + "/") and any(f.startswith(name) for f in files)]
        modules = [
            name
            for name in files
            if name.startswith(package + "/") and name.endswith(".py") and not name.endswith("__init__.py")
            and not name.startswith("agent/migrations/")
        ]  # fmt: skip
        for name in sorted([*modules, *rooms]):
            what = OTHER.get(name) or _first_line(ROOT / name)
            lines.append(f"  {name.removeprefix(package + '/'):<26} {what}")
    lines += [f"{name:<28} {what}" for name, what in OTHER.items() if not name.startswith(PACKAGES)]
    return "\n".join(["```", *lines, "```"])


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    return first.removeprefix(f"`{path.stem}`: ").replace("`", "")


def main() -> None:
    """Puts the tree between the marks in README.md."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{tree()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
