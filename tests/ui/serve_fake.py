"""`exposit serve` over the fake Explainer, as a program: `python tests/ui/serve_fake.py`; says when it was closed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import agent.service
from tests.ui.fakes import FakeExplainer
from ui.cli import app


class Told(FakeExplainer):
    async def __aexit__(self, *exc: object) -> None:
        print("the Explainer was closed", flush=True)  # noqa: T201


if __name__ == "__main__":
    agent.service.Explainer = Told  # type: ignore[misc]
    app(["serve", "--port", "0"])
