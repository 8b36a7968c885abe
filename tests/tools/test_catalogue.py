from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from tools import catalogue
from tools.contract import Detector
from tools.errors import ConfigurationError

FILE = """
from tools.contract import detector

@detector(name={name!r}, version="1", target="context", cost=1.0)
def examine(tool, image, budget):
    "Says nothing."
    return tool.abstain("because")
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An importable package `house_<test>` to put detector files into."""
    folder = tmp_path / f"house_{request.node.name}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def package(house: Path) -> ModuleType:
    return import_module(house.name)


def test_the_shipped_detectors_are_found_in_order() -> None:
    found = catalogue.detectors()
    assert list(found) == sorted(found)
    assert {"compression", "frequency"} <= set(found)
    for name, tool in found.items():
        assert isinstance(tool, Detector)
        assert tool.name == name


def test_a_file_adds_a_detector_and_an_entry_point_another(house: Path) -> None:
    (house / "b.py").write_text(FILE.format(name="zeta"))
    (house / "a.py").write_text(FILE.format(name="alpha"))
    outside = house.parent / f"outside_{house.name}.py"
    outside.write_text(FILE.format(name="middle"))
    point = EntryPoint("m", f"{outside.stem}:examine", catalogue.GROUP)
    assert list(catalogue.collect(package(house), [point])) == ["alpha", "middle", "zeta"]


def test_two_of_one_name_are_refused_and_both_places_named(house: Path) -> None:
    (house / "a.py").write_text(FILE.format(name="twin"))
    (house / "b.py").write_text(FILE.format(name="twin"))
    with pytest.raises(ConfigurationError, match=r"'twin'.*\.a:examine.*\.b:examine"):
        catalogue.collect(package(house))


def test_a_broken_file_is_named(house: Path) -> None:
    (house / "broken.py").write_text("import no_such_library_at_all")
    with pytest.raises(ConfigurationError, match=r"\.broken cannot be imported: No module named"):
        catalogue.collect(package(house))


@pytest.mark.parametrize("value", ["json:dumps", "json:no_such_thing"])
def test_an_entry_point_that_is_no_detector_is_refused(house: Path, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"entry point odd = {value}"):
        catalogue.collect(package(house), [EntryPoint("odd", value, catalogue.GROUP)])


def test_finding_detectors_imports_no_heavy_library() -> None:
    code = (
        "import sys; from tools.catalogue import detectors; assert not any(m.startswith('tools.detectors.') "
        "for m in sys.modules); detectors(); "
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
