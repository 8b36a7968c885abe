"""Reviewed cases as score files that calibration reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from agent.afterwards import PersonsLabel, Review
from agent.verdict import Report
from finetune.reviewed import rows, write
from finetune.scores import read
from tests.agent.samples import sample
from tests.agent.test_fusion import measured, spoke

VERSIONS = {"patch": "1", "splice": "1"}


def case(at: int, label: PersonsLabel | None, *, score: float = 0.25, version: str = "1") -> tuple[Review, Report]:
    sha256 = f"{at:064x}"
    evidence = (
        measured(84.4, 900), spoke("patch", score, version=version), spoke("splice", 0.5, target="edited"),
        spoke("patch", 0.9, id="patch@box1", blind=False),
    )  # fmt: skip
    report = sample(f"c{at}", sha256=sha256).model_copy(update={"evidence": evidence})
    review = Review(
        case_id=f"c{at}", at=datetime.now(UTC), reviewer="Ann", kind="override", label=label, reason="seen",
        revision=1, machine="generated",
    )  # fmt: skip
    return review, report


def test_what_reviewers_say_becomes_rows_that_calibration_reads(tmp_path: Path) -> None:
    reviews = [
        case(1, "generated"), case(2, "photograph", score=0.125), case(3, "no_evidence"), case(4, "edited"),
        case(5, "generated", version="2"), case(6, "photograph"), case(6, "inconclusive"), case(7, "photograph"),
        case(7, "generated"),
    ]  # fmt: skip
    found = rows(reviews, VERSIONS)
    assert set(found) == {"patch"}
    assert write(found, tmp_path / "reviewed") == ["patch: 2 generated, 1 photographs."]
    base = tmp_path / "oof"
    base.mkdir()
    header = (tmp_path / "reviewed" / "patch.csv").read_text().splitlines()[0]
    (base / "patch.csv").write_text(f"{header}\na.jpg,real,,,s,none,matched,0,90,224,0.5\n")
    alone, before = read(base)
    both, after = read(base, tmp_path / "reviewed")
    assert (len(alone["patch"].score), len(both["patch"].score)) == (1, 4)
    assert before != after
    added = both["patch"]
    assert list(added.y[1:]) == [1, 0, 1]
    assert list(added.score[1:]) == [0.25, 0.125, 0.25]
    assert set(added.jpeg_quality[1:]) == {84}
    assert len(set(added.group[1:])) == 3  # each is drawn alone
