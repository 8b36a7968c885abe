"""The README says what is there."""

from __future__ import annotations

import importlib.util
import re

from tests.conftest import ROOT


def test_the_tree_is_current() -> None:
    specification = importlib.util.spec_from_file_location("docs_tree", ROOT / "docs" / "tree.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert module.tree() in readme, "run: python docs/tree.py"


def test_every_make_target_and_file_that_it_names_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, flags=re.MULTILINE))
    assert {"run", "test"} <= named <= targets
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
