"""The README says what is there."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

from agent.settings import Settings
from tests.conftest import ROOT


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_tree_is_current() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script("tree").tree() in readme, "run: python docs/tree.py"


def test_the_graph_is_drawn_from_the_code_and_stays_short() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script("graph").drawing() in readme, "run: python docs/graph.py"
    assert len((ROOT / "agent" / "graph.py").read_text(encoding="utf-8").splitlines()) < 100


def test_every_make_target_and_file_that_it_names_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, flags=re.MULTILINE))
    assert {"run", "test"} <= named <= targets
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_the_references_of_settings_and_metrics_are_current() -> None:
    for name, make in script("configuration").MADE.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == make(), "run: python docs/configuration.py"


def test_settings_that_texts_name_exist() -> None:
    known = {f"EXPOSIT_{name.upper()}" for name in Settings.model_fields} | {"EXPOSIT_TEST_SERVED", "EXPOSIT_ADDRESS"}
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        named = set(re.findall(r"\bEXPOSIT_[A-Z_]+", path.read_text(encoding="utf-8")))
        assert named <= known, path.name
