from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals import page, report
from evals.peers import Peer
from evals.results import Figure, RunResult
from evals.run import run
from tests.evals.fakes import calibration, knowing, made_data, suite


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("made")
    plan = suite(
        {"name": "as-is", "title": "As <is>", "data": ["given"]},
        {"name": "matched", "title": "Matched", "data": ["given"], "chain": {"side": 64}},
        {"name": "jpeg", "title": "JPEG", "data": ["given"], "chain": {"side": 64}, "perturb": ["jpeg50"],
         "against": "matched"},
        targets=[{"text": "ranks", "protocol": "matched", "measure": "auroc", "at_least": 0.5}],
    )  # fmt: skip
    return run(
        plan, folder, folder, tools={"able": knowing("able", 1.5), "mute": knowing("mute", 1.0, silent=1.0)},
        calibration=calibration({"able": 1.0}), given=made_data(folder / "p", 60, sizes=((80, 80), (96, 80))),
        peers=[Peer("other", ("/no/such/program",))], say=False, made_by="a <test>",
    )  # fmt: skip


def _rows(card: str, first: str) -> list[list[str]]:
    """The cells of the tables' rows whose first cell is `first`."""
    lines = [line for line in card.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_card_says_what_the_json_says(result: RunResult) -> None:
    again = RunResult.model_validate_json(result.model_dump_json())
    assert again == result
    card = report.card([again])
    rows = _rows(card, "able")
    ranks = [row for row in rows if re.fullmatch(r"\d+ of \d+", row[1])]
    states = [row for row in rows if len(row) == 9]
    for protocol, ranked, stated in zip(result.protocols[:2], ranks, states, strict=True):
        system = protocol.system("able")
        assert system is not None
        assert ranked[1] == f"{system.answered} of {system.files}"
        for cell, name in zip(ranked[2:], ("auroc", "auroc_even", "ap", "tpr_at_1", "tpr_at_5"), strict=True):
            figure = system.figures[name]
            value, low, high = (float(text) for text in re.findall(r"-?\d+\.\d+", cell))
            assert value == pytest.approx(figure.value, abs=6e-4)
            assert (low, high) == (pytest.approx(figure.low, abs=6e-3), pytest.approx(figure.high, abs=6e-3))
        assert float(stated[1].split()[0]) == pytest.approx(system.figures["nll"].value, abs=6e-4)
    assert _rows(card, "mute")[0][2] == report.NONE, "a tool that never spoke has no figure"
    assert "without mute" not in card
    assert card.count("Leak audit") == 2, "the audit stands beside every protocol"
    assert "no figure below proves" in card, "as they lie, the sizes tell the classes apart"
    loss = result.protocols[2].losses[0].difference
    assert f"{loss.value:+.3f}" in _rows(card, "JPEG")[0][2]
    disturbed = _rows(card, "JPEG")[1]
    format_leak = next(leak for leak in result.protocols[2].leaks if leak.features == "format")
    assert f"{format_leak.auroc.value:.3f}" in disturbed[-2], "and beside what is disturbed"
    assert "could not be started" in card


def test_the_card_tells_risk_against_coverage(result: RunResult) -> None:
    rows = [row for row in _rows(report.card([result]).split("Risk against coverage", 1)[1], "able")]
    rows = [row for row in rows if len(row) == 1 + len(report.COVERAGES) and " " not in row[1]]
    assert len(rows) == 2, "one a protocol that is no disturbance"
    for protocol, row in zip(result.protocols[:2], rows, strict=True):
        system = protocol.system("able")
        assert system is not None
        assert system.risk is not None
        risk_at_60 = next(y for x, y in zip(system.risk.x, system.risk.y, strict=True) if x >= 0.6)
        assert float(row[1 + report.COVERAGES.index(0.6)]) == pytest.approx(risk_at_60, abs=6e-4)
        assert float(row[-1]) == pytest.approx(system.risk.y[-1], abs=6e-4), "the error rate over all"


def test_the_page_is_whole_in_itself(result: RunResult) -> None:
    text = page.html([result, result])
    assert "http" not in text
    assert not re.search(r"(src|href|url\(|@import)", text)
    assert "prefers-color-scheme" in text
    assert "As &lt;is&gt;" in text
    assert "<is>" not in text

    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag, attrs) -> None:
            if tag not in {"meta"}:
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs) -> None: ...

        def handle_endtag(self, tag) -> None:
            assert self.open.pop() == tag

    reader = Balance()
    reader.feed(text)
    assert reader.open == []
    system = result.protocols[0].system("able")
    assert system is not None
    assert f"{system.figures['auroc'].value:.3f}" in text
    assert text.count('class="plot"') == 2 * 3 * len(result.protocols)


def test_report_writes_from_files(result: RunResult, tmp_path: Path) -> None:
    source = tmp_path / "result.json"
    source.write_text(result.model_dump_json())
    report.main([str(source), "--out", str(tmp_path / "card.md"), "--page", str(tmp_path / "page.html")])
    assert (tmp_path / "card.md").read_text() == report.card([result])
    source.write_text("{}")
    with pytest.raises(SystemExit, match=r"evals\.run"):
        report.main([str(source), "--out", str(tmp_path / "card.md")])


def test_figures_are_shown_as_they_are() -> None:
    assert report.shown(Figure(value=0.6126, low=0.5, high=0.75)) == "0.613 [0.50, 0.75]"
    assert report.shown(Figure(value=0.5, low=None, high=None)) == "0.500"
    assert report.shown(Figure(value=None)) == report.NONE
    assert report.shown(Figure(value=0.02, low=-0.01, high=0.05), signed=True) == "+0.020 [-0.01, +0.05]"
