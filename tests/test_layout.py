"""The house stands as drawn: names resolve inside the repository, imports point one way, nothing heavy loads early."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("agent", "tools", "finetune", "ui", "evals")


@pytest.mark.parametrize("name", PACKAGES)
def test_top_level_name_resolves_here(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).resolve().parent == ROOT / name


def test_imports_point_one_way() -> None:
    run = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_training_and_serving_libraries_stay_outside_the_service() -> None:
    for package in ("agent", "tools", "ui"):
        for path in (ROOT / package).rglob("*.py"):
            words = path.read_text().split()
            for at, word in enumerate(words[:-1]):
                if word in ("import", "from"):
                    assert words[at + 1].split(".")[0] not in ("vllm", "trl"), path
