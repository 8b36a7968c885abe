from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.conftest import ROOT, encoded, picture
from tests.ui.fakes import FakeExplainer
from tools import errors
from ui.cli import app

JPEG = encoded(picture(64, 48))
failing: list[Exception | None] = [None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[FakeExplainer]:
    """Every Explainer that a command makes; each call of one raises `failing[0]` where that is set."""
    made: list[FakeExplainer] = []

    def make(settings: object, *, warm: bool = True, eager: bool = True) -> FakeExplainer:
        explainer = FakeExplainer(settings)  # type: ignore[arg-type]
        explainer.fails = failing[0]
        made.append(explainer)
        return explainer

    failing[0] = None
    monkeypatch.setattr("agent.service.Explainer", make)
    monkeypatch.setenv("EXPOSIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EXPOSIT_CACHE", str(tmp_path / "cache"))
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(JPEG)
    return path


def spent(*command: str) -> tuple[float, bytes]:
    """Seconds of processor that a Python program takes, the least of five, and what it printed."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, *command], capture_output=True, cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds), done.stdout


def test_help_answers_at_once() -> None:
    seconds, said = spent("-m", "ui.cli", "--help")
    assert b"explain" in said
    if seconds >= 0.5:  # a slow machine, or slow code? What every such command begins with tells
        assert seconds < 4 * spent("-c", "import typer")[0], f"{seconds:.2f} s of processor"


def test_explain_for_people(fake: list[FakeExplainer], jpeg: Path) -> None:
    result = run("explain", str(jpeg), "--budget", "thorough", "--vlm", "template")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("This picture was probably made by a generative model.")
    assert "\x1b[" not in result.stdout
    assert fake[0].closed
    assert (fake[0].settings.budget, fake[0].settings.vlm) == ("thorough", "template")
    assert fake[0].seen[0].origin == "path"


def test_the_explanation_alone_short_and_in_another_language(fake: list[FakeExplainer], jpeg: Path) -> None:
    full, short = run("explain", str(jpeg), "--language", "en"), run("explain", str(jpeg), "--short")
    assert full.exit_code == short.exit_code == 0
    assert 0 < len(short.stdout) < len(full.stdout)
    assert "Nicht geprüft" in run("explain", str(jpeg), "--language", "de").stdout
    started = len(fake)
    refused = run("explain", str(jpeg), "--language", "xx")
    assert refused.exit_code == 2
    assert "Known: de, en" in refused.output
    assert len(fake) == started, "before anything starts"


def test_explain_as_json_prints_nothing_else(fake: list[FakeExplainer], jpeg: Path) -> None:
    result = run("explain", str(jpeg), "--json")
    report = json.loads(result.stdout)
    assert report["image"]["path"] == "photo.jpg"
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ImageError("It is cut off.", remedy="Send it whole.", code="truncated"), 2),
        (errors.ConfigurationError("A setting is wrong.", remedy="Mend it."), 3),
        (errors.WorkerError("A worker died.", remedy="Try again."), 4),
    ],
)
def test_exit_codes(fake: list[FakeExplainer], jpeg: Path, error: errors.ExpositError, code: int) -> None:
    failing[0] = error
    result = run("explain", str(jpeg), "--json")
    assert result.exit_code == code
    assert result.stdout == ""
    assert error.message in result.stderr
    assert error.remedy in result.stderr
    assert fake[0].closed


@pytest.mark.parametrize(
    ("argument", "said"),
    [("nowhere.jpg", "There is no file nowhere.jpg."), ("http://127.0.0.1/a.jpg", "not on the public internet")],
)
def test_what_cannot_be_read_is_said_before_anything_starts(
    fake: list[FakeExplainer], argument: str, said: str
) -> None:
    result = run("explain", argument)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert fake == []


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, jpeg: Path) -> None:
    monkeypatch.setenv("EXPOSIT_PRIOR", "2")
    result = run("explain", str(jpeg))
    assert result.exit_code == 3
    assert "EXPOSIT_PRIOR" in result.stderr


def test_audit_and_history(fake: list[FakeExplainer]) -> None:
    assert "7 rows" in run("audit", "verify").stdout
    assert "No case" in run("history").stdout
    failing[0] = errors.IntegrityError("Row 3 does not hold.", remedy="Restore a backup.")
    assert run("audit", "verify").exit_code == 3


def test_history_lists_cases(monkeypatch: pytest.MonkeyPatch, fake: list[FakeExplainer], jpeg: Path) -> None:
    one = FakeExplainer(None)  # type: ignore[arg-type]
    monkeypatch.setattr("agent.service.Explainer", lambda settings, **_: one)
    run("explain", str(jpeg))
    assert "case-0001" in run("history").stdout
    assert json.loads(run("history", "--json").stdout)["label"] == "generated"


def test_models_and_doctor_say_what_is_missing(fake: list[FakeExplainer]) -> None:
    listed = run("models", "list")
    assert listed.exit_code == 0
    assert "missing" in listed.stdout
    assert run("models", "pull", "nonsense").exit_code == 2
    checked = run("doctor", "--deep")
    assert checked.exit_code == 0, checked.output
    assert "exposit models pull clip" in checked.stdout
    assert "narrator: ok" in checked.stdout


def test_doctor_fails_where_a_part_is_not_ready(fake: list[FakeExplainer]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.ui.fakes.FakeExplainer.readiness", _not_ready)
        checked = run("doctor", "--deep")
    assert checked.exit_code == 3
    assert "BAD" in checked.stdout


def test_doctor_tells_of_a_configured_model_that_is_not_there(
    fake: list[FakeExplainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "No Stable Diffusion model is configured" in " ".join(run("doctor").stdout.split())
    monkeypatch.setenv("EXPOSIT_INVERSION_MODEL", str(tmp_path / "not" / "here"))
    checked = run("doctor")
    assert checked.exit_code == 3
    assert "EXPOSIT_INVERSION_MODEL" in checked.stdout


async def _not_ready(self: FakeExplainer) -> dict[str, str]:
    return {"database": "cannot be opened"}


SPEAK_OTHERWISE = {"serve", "worker", "mcp", "report", "claimreview", "schema"}
"""They serve, or print a document whose form is asked for by other means (and mostly is JSON)."""


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each command with its whole name."""
    for part, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {part}".strip())
    if not hasattr(command, "commands"):
        yield name, command


def test_every_command_tells_its_outcome_as_json_and_helps() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert len(found) > 20
    for name, command in found.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) != (name in SPEAK_OTHERWISE), name
        assert command.help.endswith((".", "?")), name
        for parameter in command.params:
            if parameter.opts[0].startswith("--"):
                assert parameter.help, (name, parameter.opts)


def test_no_colour_and_no_movement_but_on_a_terminal(
    fake: list[FakeExplainer], jpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (("explain", str(jpeg)), ("history",), ("doctor", "--deep"), ("--help",)):
        result = run(*arguments)
        assert "\x1b[" not in result.output, arguments
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal that would have colours
    assert "\x1b[3" not in run("explain", str(jpeg)).output
