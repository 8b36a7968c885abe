"""A newcomer's walk: the commands of the README as they are written there, against a real service.

Only what a reader would put in is put in: the address of the service, the case's id, a name and a reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, encoded, picture
from tests.ui.conftest import serving

FILES, BROKEN = (100, 10) if os.environ.get("EXPOSIT_TEST_STRICT") else (10, 2)
README = (ROOT / "README.md").read_text(encoding="utf-8")
OURS = {"EXPOSIT_VLM": "template", "EXPOSIT_BUDGET": "quick", "EXPOSIT_LOG_LEVEL": "error"}


def command(begins: str) -> str:
    """The one command of the README that begins so, without its comment."""
    lines = [line.strip() for line in README.splitlines() if line.strip().startswith(begins)]
    assert lines, f"README.md has no command {begins!r}"
    return re.split(r"\s+# ", lines[0])[0]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a newcomer has it: the command, a photograph, and pictures of which some are broken."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / ".venv" / "bin").mkdir(parents=True)
    shim = folder / ".venv" / "bin" / "exposit"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m ui.cli "$@"\n')
    shim.chmod(0o755)
    (folder / "pictures").mkdir()
    for number in range(FILES):
        data = encoded(picture(96, 64, seed=number), quality=90)
        if number < BROKEN:
            data = (data[: len(data) // 2], b"", b"<html>not found</html>", b"%PDF-1.7\n" * 9, data[:20])[number % 5]
        (folder / "pictures" / f"{number:03}.jpg").write_bytes(data)
    for name, seed in (("photo.jpg", 1000), ("a.jpg", 1001), ("b.jpg", 1002)):
        (folder / name).write_bytes(encoded(picture(128, 96, seed=seed), quality=90))
    return folder


@pytest.fixture(scope="module")
def address(desk: Path) -> Iterator[str]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OURS.items():
            patch.setenv(name, value)
        with serving(desk / "home", "-m", "ui.cli", "serve", "--port", "0") as served:
            yield served.address


def run(desk: Path, line: str, address: str = "", case: str = "") -> str:
    """Runs one line in a shell; what it printed."""
    line = line.replace("http://127.0.0.1:7860", address).replace("CASE", case).replace("BATCH", case)
    environment = os.environ | OURS | {"EXPOSIT_HOME": str(desk / "home")}
    done = subprocess.run(
        ["bash", "-e", "-c", line], cwd=desk, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.timeout(1500)
def test_the_walk(desk: Path, address: str) -> None:
    report = json.loads(run(desk, command("curl -F file=@photo.jpg http"), address))
    case = report["case_id"]
    assert report["verdict"]["label"]
    assert report["explanation"]

    said = run(desk, command(".venv/bin/exposit review CASE"), case=case)
    assert said
    run(desk, command(".venv/bin/exposit report CASE -f pdf"), case=case)
    assert (desk / "report.pdf").read_bytes().startswith(b"%PDF-")
    markup = json.loads(run(desk, command(".venv/bin/exposit claimreview CASE"), case=case))
    assert "schema.org" in json.dumps(markup["@context"])
    run(desk, command("curl -O http"), address, case)
    assert (desk / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert "holds" in run(desk, command(".venv/bin/exposit bundle CASE"), case=case)
    assert "holds" in run(desk, command(".venv/bin/exposit audit verify"))

    run(desk, command(".venv/bin/exposit batch pictures/"))
    lines = [json.loads(line) for line in (desk / "cases.jsonl").read_text().splitlines()]
    outcomes = Counter("verdict" if "report" in line or "verdict" in line else "error" for line in lines)
    assert outcomes == {"verdict": FILES - BROKEN, "error": BROKEN}

    batch = json.loads(run(desk, command("curl -F files=@a.jpg"), address))
    assert batch["total"] == 2


def test_every_command_of_the_readme_is_one() -> None:
    """Those that the walk does not run are at least commands and options that exist."""
    from tests.test_docker import known_command

    lines = re.findall(r"^\.venv/bin/exposit (.*)$", README, re.M)
    assert len(lines) > 10
    for line in lines:
        for part in re.split(r"\s+# ", line)[0].split("&&"):
            known_command(part.replace(".venv/bin/exposit", "").split())
