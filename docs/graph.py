"""Writes the drawing of the graph, as LangGraph makes it from the code, into the README: `python docs/graph.py`.

`tests/test_readme.py` fails where the README does not hold what this prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BEGIN, END = "<!-- graph: python docs/graph.py -->", "<!-- end of graph -->"


def drawing() -> str:
    """The graph as a Mermaid block, which GitHub and GitLab draw."""
    from langchain_core.runnables.graph import CurveStyle

    from agent.graph import build_graph

    drawn = build_graph(model_timeout_s=1.0).get_graph()
    return f"```mermaid\n{drawn.draw_mermaid(with_styles=False, curve_style=CurveStyle.LINEAR).strip()}\n```"


def main() -> None:
    """Puts the drawing between the marks in README.md."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{drawing()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
