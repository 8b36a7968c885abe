from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from agent import fusion
from agent.calibration import ALL, SHIPPED, Calibration, load
from agent.fusion import fuse
from evals.metrics import balanced_weights
from finetune import calibrate as module
from finetune.calibrate import Spoken, calibrate, card
from finetune.logistic import conformal_above, fit_logistic
from finetune.scores import COLUMNS, Rows, read
from finetune.stacking import fit_stack
from tools.contract import Evidence, Tool
from tools.errors import ConfigurationError
from tools.image import SourceImage

DRAWS = 40


def lines(
    *, matched: float, aligned: float | None, seed: int = 0, n: int = 120, trace: np.ndarray | None = None
) -> Iterator[dict[str, str]]:
    """A simulated score file: `matched` and `aligned` are the distances of the classes, in standard deviations."""
    rng = np.random.default_rng(seed)
    place = 0
    for kind, distance in (("matched", matched), ("aligned", aligned)):
        if distance is None:
            continue
        for item in range(n):
            for label in ("real", "generated"):
                noise = rng.normal() if trace is None else trace[place]
                z = noise + (distance if label == "generated" else 0.0) - distance / 2
                place += 1
                generated = label == "generated"
                yield {
                    "item": f"{label if kind == 'matched' else 'photo'}{item}",
                    "label": label,
                    "generator": ("taef2" if kind == "aligned" else f"model{item % 12}") if generated else "",
                    "prompt": "",
                    "source": f"collection{item % 2}",
                    "fold": "0",
                    "kind": kind,
                    "draw": "0",
                    "jpeg_quality": str(70 + item % 26),
                    "short_side": "224",
                    "score": f"{1 / (1 + math.exp(-z)):.5f}",
                }


def rows(**options: object) -> Rows:
    return Rows.of(lines(**options), "simulated.csv")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made() -> Calibration:
    scores = {
        "good": rows(matched=1.6, aligned=1.2),
        "subject": rows(matched=2.5, aligned=0.0, seed=1),
        "noise": rows(matched=0.0, aligned=0.0, seed=2),
        "unpaired": rows(matched=2.0, aligned=None, seed=3),
    }
    return calibrate(scores, {name: Spoken("1") for name in scores}, draws=DRAWS, data_sha256="ab" * 32)


def test_only_what_is_shown_on_both_kinds_has_weight(made):
    assert made.tools["good"].weight > 0.5
    assert "use shown on held-out pictures" in made.tools["good"].because
    for name, reason in {
        "subject": "photographs against their own passage through an autoencoder it told no more than guessing",
        "noise": "on held-out pictures it told no more than guessing",
        "unpaired": "it has no aligned rows",
    }.items():
        assert made.tools[name].weight == 0
        assert reason in made.tools[name].because
        assert made.tools[name].because.endswith("weight zero")
        assert not made.tools[name].buckets


def test_calibrated_ratios_mean_what_they_say(made):
    """Of new pictures to which the tool gives odds of about 2 : 1, about two in three are generated."""
    fresh = rows(matched=1.4, aligned=1.2, seed=99, n=4000)
    told = np.array([made.tools["good"].buckets[ALL].llr(float(s))[0] for s in fresh.score])
    near = (told > 0.5) & (told < 0.9) & (fresh.kind == "aligned")
    assert near.sum() > 300
    assert 0.55 < fresh.y[near].mean() < 0.80


def test_the_weaker_kind_rules(made):
    bucket = made.tools["good"].buckets[ALL]
    each = {
        kind: fit.intercept + fit.slope * math.log(0.95 / 0.05)
        for kind, fit in bucket.fits.items()
    }  # fmt: skip
    assert bucket.llr(0.95)[0] == pytest.approx(min(each.values()))
    assert each["matched"] > each["aligned"] > 0


def test_thresholds_keep_false_alarms_down_on_fresh_photographs(made):
    bar = max(fusion.LABEL_FLOOR, made.generated.llr)
    fresh = rows(matched=1.6, aligned=1.2, seed=123, n=3000)
    named = []
    for score, y in zip(fresh.score, fresh.y, strict=True):
        if y == 0:
            spoken = Evidence(id="good", detector="good", version="1", target="generated", score=float(score))
            named.append(fuse([spoken], prior=0.5, calibration=made).verdict.label == "generated")
    assert 0 <= np.mean(named) <= 0.055
    assert bar <= fusion.PIXEL_CAP
    assert made.generated.figures["matched_photographs"] <= 0.05
    assert made.generated.figures["aligned_photographs"] <= 0.05


def test_narrow_buckets_need_enough_pictures(made):
    names = set(made.tools["good"].buckets)
    assert ALL in names
    assert {"q70-84", "q85-94"} <= names
    assert "q70-84 s224-383" not in names, "all rows are small, so that it would be the same bucket again"
    assert "q95+" not in names, "a quality that 1 picture in 26 has is too rare for a bucket of its own"


def with_small(matched: float, aligned: float) -> Rows:
    """Rows of a tool that is good on whole tiles, and small views of the same pictures on a scale of their own."""
    own = list(lines(matched=matched, aligned=aligned, seed=7))
    for line in own:
        odds = float(line["score"]) / (1 - float(line["score"])) * math.e**2
        line |= {"short_side": "176", "score": f"{odds / (1 + odds):.5f}"}
    return Rows.of([*lines(matched=1.6, aligned=1.2), *own], "simulated.csv")


def test_small_views_have_buckets_of_their_own_and_leave_the_others_alone(made):
    scores = {"good": with_small(matched=1.5, aligned=1.1)}
    found = calibrate(scores, {"good": Spoken("1")}, draws=DRAWS).tools["good"]
    assert found.least_short_side == 176
    assert {"s0-223", "q70-84 s0-223"} <= set(found.buckets)
    for name in (ALL, "q70-84", "q85-94"):
        assert found.buckets[name] == made.tools["good"].buckets[name]
    large, small = found.buckets[ALL].fits["matched"], found.buckets["s0-223"].fits["matched"]
    assert small.intercept < large.intercept - 1, "the same score of a small view speaks less for generated"


def test_small_views_without_use_of_their_own_have_no_weight(made):
    scores = {"good": with_small(matched=1.5, aligned=0.0)}
    found = calibrate(scores, {"good": Spoken("1")}, draws=DRAWS).tools["good"]
    assert found.least_short_side == 224
    assert found.buckets == made.tools["good"].buckets
    assert found.weight > 0.5
    assert "under 224 px" in found.because
    assert "told no more than guessing" in found.because


def with_reshared(shift: float) -> Rows:
    """Rows of a good tool, and re-shared copies whose scores lie `shift` lower for both classes."""
    own = list(lines(matched=2.4, aligned=2.4, seed=7))
    for line in own:
        odds = float(line["score"]) / (1 - float(line["score"])) * math.exp(-shift)
        line |= {"kind": f"{line['kind']}_reshared", "score": f"{odds / (1 + odds):.5f}"}
    return Rows.of([*lines(matched=2.4, aligned=2.4), *own], "simulated.csv")


def test_re_shared_copies_are_kinds_of_their_own_and_are_not_cleared():
    rows = with_reshared(shift=2.0)
    spoken = {"good": Spoken("1")}
    copies = np.char.endswith(rows.kind, "_reshared") & (rows.y == 1)

    def cleared(made: Calibration) -> float:
        """Share of re-shared generated pictures that get `no_evidence`."""
        told = made.tools["good"].buckets[ALL].llr(rows.score[copies])[0] * made.tools["good"].weight
        return float(np.mean(told <= fusion.bars(made)["no_evidence"]))

    blind = calibrate({"good": rows.where(~np.char.endswith(rows.kind, "_reshared"))}, spoken, draws=DRAWS)
    aware = calibrate({"good": rows}, spoken, draws=DRAWS)
    assert cleared(blind) > 0.3
    assert cleared(aware) <= 0.11
    assert set(aware.tools["good"].buckets[ALL].fits) == {
        "aligned", "aligned_reshared", "matched", "matched_reshared",
    }  # fmt: skip
    assert aware.tools["good"].weight > 0.5
    assert aware.no_evidence.figures["matched_reshared_generated"] <= 0.1


def test_a_tool_that_tells_nothing_of_re_shared_pictures_has_no_weight():
    own = [line | {"kind": f"{line['kind']}_reshared"} for line in lines(matched=0.0, aligned=0.0, seed=7)]
    rows = Rows.of([*lines(matched=1.6, aligned=1.2), *own], "simulated.csv")
    found = calibrate({"good": rows}, {"good": Spoken("1")}, draws=DRAWS).tools["good"]
    assert found.weight == 0
    assert "re-shared" in found.because


def test_the_shipped_calibration_clears_few_generated_pictures_of_any_kind():
    made, rows = load(), read(Path(module.__file__).with_name("oof"))[0]["semantic"]
    tool, bar = made.tools["semantic"], fusion.bars(made)["no_evidence"]
    assert {"aligned_reshared", "matched_reshared"} < set(rows.kinds)
    for small in (False, True):
        for kind in rows.kinds:
            inside = (rows.small == small) & (rows.kind == kind) & (rows.y == 1)
            told = [
                tool.buckets[next(name for name in names if name in tool.buckets)].llr(float(score))[0] * tool.weight
                for names, score in zip(np.array(rows.buckets)[inside], rows.score[inside], strict=True)
            ]
            assert np.mean(np.array(told) <= bar) <= 0.05, kind
            assert np.mean(told) > 0.1, f"{kind}: generated pictures lie on the side of photographs"


def test_the_same_rows_give_the_same_file_and_another_seed_another():
    scores = {"good": rows(matched=1.6, aligned=1.2, n=60)}
    spoken = {"good": Spoken("1")}
    one, two = (calibrate(scores, spoken, draws=20) for _ in range(2))
    assert one == two
    other = calibrate(scores, spoken, draws=20, seed=1)
    assert (
        other.tools["good"].buckets[ALL].fits["matched"].draws != one.tools["good"].buckets[ALL].fits["matched"].draws
    )


def test_two_tools_that_see_one_trace_are_not_counted_twice():
    trace = np.random.default_rng(5).normal(size=480)
    twins = {name: rows(matched=1.5, aligned=1.5, trace=trace) for name in ("one", "two")}
    shared = calibrate(twins, {name: Spoken("1") for name in twins}, draws=20)
    apart = {"one": twins["one"], "two": rows(matched=1.5, aligned=1.5, seed=77)}
    separate = calibrate(apart, {name: Spoken("1") for name in apart}, draws=20)

    def total(made: Calibration) -> float:
        return sum(tool.weight for tool in made.tools.values())

    assert total(shared) < 1.4, "a little above 1, since each one's own ratio is the more careful of two fits"
    assert total(separate) > 1.7


def test_fit_logistic_against_scikit_learn():
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.2).astype(float)
    x = rng.normal(size=400) * 2 + y
    weights = balanced_weights(y)
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(x[:, None], y, sample_weight=weights)
    intercept, slope = fit_logistic(x, y, np.ones(400))
    assert slope == pytest.approx(model.coef_[0, 0], rel=0.03)
    assert intercept == pytest.approx(model.intercept_[0], abs=0.03)
    assert fit_logistic(x, 1 - y, np.ones(400)) == (0.0, 0.0), "a score that falls with the class says nothing"
    assert fit_logistic(x, np.ones(400), np.ones(400)) == (0.0, 0.0)
    separable = fit_logistic(np.repeat([-5.0, 5.0], 50), np.repeat([0.0, 1.0], 50), np.ones(100))
    assert math.isfinite(separable[1])


def test_fit_stack_finds_the_least_loss_inside_the_box():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 500).astype(float)
    llrs = np.stack([rng.normal(size=500) + 0.8 * (2 * y - 1), rng.normal(size=500)], axis=1)
    w = fit_stack(llrs, y, np.ones(500))

    def loss(a: float, b: float) -> float:
        z = llrs @ np.array([a, b])
        return float(np.mean(np.logaddexp(0, z) - y * z))

    grid = [(loss(a, b), a, b) for a in np.linspace(0, 1, 41) for b in np.linspace(0, 1, 41)]
    assert loss(*w) <= min(grid)[0] + 1e-6
    assert ((w >= 0) & (w <= 1)).all()


def test_conformal_above():
    assert conformal_above(np.arange(1, 20.0), 0.05) == 19.0
    assert conformal_above(np.arange(1, 19.0), 0.05) == math.inf, "18 values cannot promise 5 %"
    rng = np.random.default_rng(0)
    beyond = [np.mean(rng.normal(size=500) > conformal_above(rng.normal(size=59), 0.05)) for _ in range(300)]
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.012)


def write(path: Path, **options: object) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines(**options))  # type: ignore[arg-type]


def test_the_command_writes_a_file_that_fusion_reads(tmp_path, monkeypatch, capsys):
    write(tmp_path / "good.csv", matched=1.6, aligned=1.2, n=60)
    monkeypatch.setattr(module, "installed", lambda: {"good": Spoken("3")})
    monkeypatch.setattr(module, "DRAWS", 20)
    out = tmp_path / "calibration.json"
    module.main(["--scores", str(tmp_path), "--out", str(out)])
    read_back = load(out)
    assert read_back.tools["good"].version == "3"
    assert read_back.tools["good"].weight > 0
    assert read_back.data_sha256 == read(tmp_path)[1]
    assert "good 3: weight" in capsys.readouterr().out
    reordered = (tmp_path / "good.csv").read_text().splitlines()
    (tmp_path / "good.csv").write_text("\n".join([reordered[0], *reversed(reordered[1:])]))
    assert read(tmp_path)[1] == read_back.data_sha256, "the hash does not depend on the order of lines"


def test_the_shipped_card_is_that_of_the_shipped_file():
    assert SHIPPED.with_suffix(".md").read_text(encoding="utf-8") == card(load())


def test_the_shipped_file_is_that_of_the_committed_scores():
    folder = Path(module.__file__).with_name("oof")
    assert read(folder)[1] == load().data_sha256, "the scores changed: run finetune.calibrate again"


def test_no_scores_give_a_calibration_without_tools(tmp_path):
    scores, digest = read(tmp_path)
    made = calibrate(scores, {}, data_sha256=digest)
    assert made.tools == {}
    assert made.data_sha256 == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,label\na,real\n", "KeyError"),
        (",".join(COLUMNS) + "\na,real,,,s,0,matched,0,90,224,1.5\n", "inside"),
        (",".join(COLUMNS) + "\na,maybe,,,s,0,matched,0,90,224,.5\n", "label must be"),
        (",".join(COLUMNS) + "\n", "holds no scores"),
        (",".join(COLUMNS) + "\na,real,,,s,0,matched,0,90,224,.5" * 2 + "\n", "twice"),
    ],
)
def test_a_score_file_that_does_not_hold_is_refused(tmp_path, text, said):
    (tmp_path / "bad.csv").write_text(text.replace(".5a,", ".5\na,"))
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path)


def test_scores_of_no_known_detector_are_refused():
    with pytest.raises(ConfigurationError, match="no detector of that name"):
        calibrate({"ghost": rows(matched=1.0, aligned=1.0, n=20)}, {}, draws=20)


def test_scores_of_a_hand_made_tool(tmp_path, monkeypatch):
    from finetune import scores, twins
    from tests.conftest import encoded, picture
    from tools import catalogue
    from tools.contract import Budget, detector

    @detector(name="stub", version="1", target="generated", cost=1)
    def stub(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
        """Scores by the mean, and abstains on dark pictures."""
        mean = float(image.rgb.mean()) / 255
        return tool.evidence(score=mean) if mean > 0.2 else tool.abstain("too dark")

    head = "path,label,generator,family,prompt,source,licence,origin"
    listed = [head]
    (tmp_path / "train").mkdir()
    for place, label in enumerate(("real", "generated", "real")):
        name = f"train/{place}.jpg"
        image = picture(300, 280, place) if place < 2 else picture(300, 280).point(lambda v: v // 20)
        (tmp_path / name).write_bytes(encoded(image))
        listed.append(f"{name},{label},{'m' if label == 'generated' else '-'},f,,s,l,o")
    (tmp_path / "manifest.csv").write_text("\n".join(listed))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "manifest.csv").write_text("path,source,origin\n")
    monkeypatch.setattr(twins, "twins", lambda items, taef2, work, crops: [])
    monkeypatch.setattr(catalogue, "detectors", lambda: {"stub": stub})
    said = scores.score("stub", tmp_path, tmp_path, tmp_path, tmp_path / "out")
    assert said == "stub 1: 4 scores written, 2 abstentions left out."
    found = read(tmp_path / "out")[0]["stub"]
    assert sorted(zip(found.picture, found.y, strict=True)) == [("train/0.jpg", 0)] * 2 + [("train/1.jpg", 1)] * 2
    assert set(found.short_side) == {224.0}
    with pytest.raises(ConfigurationError, match="trained head"):
        scores.score("patch", tmp_path, tmp_path, tmp_path, tmp_path / "out")
    with pytest.raises(ConfigurationError, match="no detector 'ghost'"):
        scores.score("ghost", tmp_path, tmp_path, tmp_path, tmp_path / "out")


def test_a_tool_that_asks_for_edits_needs_no_rows_of_generated_pictures() -> None:
    rng = np.random.default_rng(3)
    lines = []
    for i in range(120):
        for label, centre in (("real", -1.0), ("edited", 1.0)):
            score = 1 / (1 + np.exp(-(centre + rng.normal(0, 1.0))))
            lines.append(
                dict(item=f"photo{i}", label=label, generator="pasted" if label == "edited" else "", prompt="",
                     source="a", fold="host0of3", kind="aligned", draw="0", jpeg_quality="90", short_side="400",
                     score=f"{score:.5f}")
            )  # fmt: skip
    rows = Rows.of(lines, "made.csv")
    made = calibrate({"splice": rows}, {"splice": Spoken("1", "edited")}, draws=20)
    assert made.tools["splice"].weight == pytest.approx(0.5)  # one kind of row shows use on one kind only
    assert max(made.tools["splice"].weight_draws) <= 0.5
    assert made.edited.llr > 0
    assert "aligned_edited" in made.edited.figures
    assert made.generated.because.startswith("no pixel tool")
    asked_otherwise = calibrate({"splice": rows}, {"splice": Spoken("1", "generated")}, draws=20)
    assert asked_otherwise.tools["splice"].weight == 0


def test_a_tool_may_be_tried_by_its_matched_rows_alone() -> None:
    scores = {"able": rows(matched=1.5, aligned=1.5), "voice": rows(matched=2.0, aligned=0.0, seed=1)}
    spoken = {name: Spoken("1") for name in scores}
    judged = calibrate(scores, spoken, draws=DRAWS).tools
    assert judged["able"].weight > 0
    assert judged["voice"].weight == 0
    tried = calibrate(scores, spoken, draws=DRAWS, matched_alone=("voice",)).tools
    assert tried["voice"].weight > 0
    assert set(tried["voice"].buckets[ALL].fits) == {"matched"}
    assert tried["able"].buckets == judged["able"].buckets
