from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from agent.calibration import Bucket, Logistic
from evals import figures
from evals import suite as suites
from evals.figures import Table
from evals.run import best_single, main, run, warm
from evals.scoring import Scorer, verdict
from tests.conftest import encoded, picture
from tests.evals.fakes import calibration, knowing, made_data, suite
from tools.contract import Budget, Evidence, MapRef, detector
from tools.errors import ConfigurationError

AS_IS = {"name": "as-is", "title": "As is", "data": ["given"]}
CHAIN = {"name": "matched", "title": "Matched", "data": ["given"], "chain": {"side": 64}, "draws": 3}


def _truth(gap: float) -> float:
    return 0.5 * (1 + math.erf(gap / 2))  # AUROC of two normals `gap` apart: Φ(gap/√2)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory):
    return made_data(tmp_path_factory.mktemp("made"), 240)


def test_a_scorer_of_known_strength_comes_out_with_that_strength(items, tmp_path: Path) -> None:
    tools = {"able": knowing("able", 1.5), "blind": knowing("blind", 0.0), "shy": knowing("shy", 1.0, silent=0.5)}
    weighed = calibration({"able": 1.0, "shy": 1.0, "blind": 0.0}, {"able": (0.8, 0.9), "shy": (0.5, 0.99)})
    result = run(
        suite(AS_IS, CHAIN), tmp_path, tmp_path, tools=tools, calibration=weighed, given=items, say=False,
    )  # fmt: skip
    as_is, matched = result.protocols
    for protocol in (as_is, matched):
        able, blind, shy = (protocol.system(name) for name in ("able", "blind", "shy"))
        assert able is not None
        assert blind is not None
        assert shy is not None
        # Three standard errors of 240 pictures, or of the half that the shy one answers.
        for system, gap, off in ((able, 1.5, 0.08), (blind, 0.0, 0.11), (shy, 1.0, 0.13)):
            auroc = system.figures["auroc"]
            assert auroc.value == pytest.approx(_truth(gap), abs=off), (protocol.name, system.name)
            assert auroc.low < auroc.value < auroc.high
        assert able.answered == able.files == 240 * protocol.draws
        assert 0.4 < shy.answered / shy.files < 0.6
        assert able.figures["nll_gain"].low > 0, "it knows something, and says how much"
        assert able.figures["ece"].value <= able.ece_if_calibrated.high, "its probabilities are exactly right"
        assert blind.figures["nll_gain"].value == pytest.approx(0, abs=1e-9), "no weight: the base rate itself"
        assert blind.reliability is not None
        assert len(blind.reliability.x) == 1, "one probability, one point"
        assert able.reliability is not None
        np.testing.assert_allclose(able.reliability.x, able.reliability.y, atol=0.25)
        # The agent sums independent evidence: two tools are better than the better of them.
        agent = protocol.system("agent")
        assert agent is not None
        assert agent.figures["auroc"].value > able.figures["auroc"].value
        told = {(d.theirs, d.measure): d.difference for d in protocol.differences}
        gain = agent.figures["auroc"].value - able.figures["auroc"].value
        assert told["able", "auroc"].value == pytest.approx(gain, abs=3e-6)
        assert told["without able", "auroc"].low > 0, "taking the able tool away costs"
        assert protocol.without_effect == ("blind",)
    assert result.best["generated"].tool == "able", "the one whose worse figure is best"


def test_labels_count_abstentions_as_not_flagged(items, tmp_path: Path) -> None:
    result = run(
        suite(AS_IS), tmp_path, tmp_path, tools={"able": knowing("able", 2.5)}, calibration=calibration({"able": 1.0}),
        given=items, say=False,
    )  # fmt: skip
    protocol = result.protocols[0]
    photographs, generated = protocol.labels["negative"], protocol.labels["positive"]
    for labels in (photographs, generated):
        assert sum(labels.counts.values()) == labels.files == 120
        assert labels.flagged.value == pytest.approx(labels.counts.get("generated", 0) / 120, abs=1e-6)
        assert labels.decided.value == pytest.approx(1 - labels.counts.get("inconclusive", 0) / 120, abs=1e-6)
        assert labels.flagged.high > labels.flagged.value
    assert photographs.flagged.value < 0.1 < 0.5 < generated.flagged.value
    assert protocol.sources[0].name == "camera"
    assert {group.name for group in protocol.groups} == {f"maker {n}" for n in range(8)}
    order = [group.auroc["agent"].value for group in protocol.groups]
    assert order == sorted(order), "weakest first"


def test_a_disturbance_that_blinds_the_tool_is_a_loss(items, tmp_path: Path) -> None:
    @detector(name="fragile", version="1", target="generated", cost=1.0)
    def fragile(tool, image, budget) -> Evidence:
        """Knows, while the picture has its own size."""
        rng = np.random.default_rng(image.seed)
        seen = image.width == 64 and image.rgb.mean() > 128
        return tool.evidence(score=float(np.clip(0.3 + 0.4 * seen + rng.normal(0, 0.05), 0, 1)))

    half = {"perturb": ["half"], "against": "matched", "name": "half"}
    result = run(
        suite(CHAIN, CHAIN | half, targets=[
            {"text": "kept", "protocol": "half", "measure": "loss", "at_least": -0.05, "system": "fragile"},
            {"text": "ranks", "protocol": "matched", "measure": "auroc", "at_least": 0.9, "system": "fragile"},
        ]),
        tmp_path, tmp_path, tools={"fragile": fragile}, calibration=calibration({"fragile": 1.0}), given=items,
        say=False,
    )  # fmt: skip
    loss = next(loss for loss in result.protocols[1].losses if loss.ours == "fragile")
    assert loss.difference.value == pytest.approx(-0.5, abs=0.08)
    flips = result.protocols[1].flips
    assert flips is not None
    assert flips.files == 240 * 3
    assert flips.withheld <= flips.flipped
    assert flips.flipped == pytest.approx(360, abs=60), "light pictures were above the prior, and fall below it"
    assert [(t.outcome, t.certain) for t in result.targets] == [("missed", True), ("reached", True)]


def test_what_tools_said_is_kept_and_a_new_version_is_asked_anew(items, tmp_path: Path) -> None:
    asked: list[str] = []

    def tool(version: str):
        @detector(name="counted", version=version, target="generated", cost=1.0)
        def examine(tool, image, budget) -> Evidence:
            """Counts."""
            asked.append(version)
            return tool.evidence(score=0.25 + image.seed % 100 / 200, measurements={"a": 1})

        return examine

    few = items[:24]
    plan = suite(AS_IS)
    results = [
        run(
            plan, tmp_path, tmp_path, tools={"counted": tool(version)}, calibration=calibration({"counted": 1.0}),
            given=few, kept=tmp_path / "kept", say=False,
        ).model_dump(exclude={"costs"})
        for version in ("1", "1", "2")
    ]  # fmt: skip
    assert asked == ["1"] * 24 + ["2"] * 24
    assert results[0] == results[1], "the same files, versions and seed give the same result"
    assert results[0]["protocols"] != results[2]["protocols"]
    shelf = next((tmp_path / "kept").glob("counted-1-*"))
    shelf.write_text(shelf.read_text()[:-30])  # broken off in mid-line
    run(
        plan, tmp_path, tmp_path, tools={"counted": tool("1")}, calibration=calibration({"counted": 1.0}), given=few,
        kept=tmp_path / "kept", say=False,
    )  # fmt: skip
    assert len(asked) == 49, "only the line that was broken off is asked again"


def test_tools_asked_ahead_are_not_asked_again_and_a_broken_run_over_disturbances_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"first": 0, "second": 0}
    patience = 1000

    def tool(name: str):
        @detector(name=name, version="1", target="generated", cost=1.0)
        def examine(tool, image, budget) -> Evidence:
            """Counts."""
            if asked[name] == patience:
                raise KeyboardInterrupt
            asked[name] += 1
            return tool.evidence(score=image.seed % 100 / 100)

        return examine

    tools = {name: tool(name) for name in asked}
    monkeypatch.setattr("evals.run.detectors", lambda: tools)
    made = {"data": ["made"], "chain": {"side": 96}}
    plan = suite(
        {"name": "plain", "title": "Plain"} | made,
        {"name": "jpeg", "title": "JPEG", "perturb": ["jpeg50"], "against": "plain"} | made,
        {"name": "blur", "title": "Blur", "perturb": ["blur"], "against": "plain"} | made,
    )
    weighed, kept = calibration({"first": 1.0, "second": 1.0}), tmp_path / "kept"
    assert warm(plan, tmp_path, tmp_path, ["first"], kept) == 60
    assert asked == {"first": 60, "second": 0}
    patience = 35
    asked["first"] = 0
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path, tmp_path, calibration=weighed, kept=kept, say=False)
    assert asked == {"first": 0, "second": 35}, "broken off in the second protocol"
    patience = 1000
    result = run(plan, tmp_path, tmp_path, calibration=weighed, kept=kept, say=False)
    assert asked == {"first": 0, "second": 60}
    again = run(plan, tmp_path, tmp_path, calibration=calibration({"first": 0.5}), kept=kept, say=False)
    assert asked == {"first": 0, "second": 60}, "a new calibration costs fusion alone"
    assert again.protocols[2].system("agent") != result.protocols[2].system("agent")


def test_calibration_error_is_missed_only_where_chance_cannot_explain_it(items, tmp_path: Path) -> None:
    aim = {"text": "sure", "protocol": "as-is", "measure": "ece_excess", "not_proven_above": 0.0}
    outcomes = []
    for slope in (1.0, 5.0):  # what the tool says is exactly right; five times its log odds is far too sure
        weighed = calibration({"able": 1.0})
        fit = Logistic(intercept=0, slope=slope, draws=((0.0, slope),) * 20)
        able = weighed.tools["able"].model_copy(update={"buckets": {"all": Bucket(fits={"matched": fit}, n=1000)}})
        result = run(
            suite(AS_IS, targets=[aim]), tmp_path, tmp_path, tools={"able": knowing("able", 1.5)},
            calibration=weighed.model_copy(update={"tools": {"able": able}}), given=items, say=False,
        )  # fmt: skip
        agent = result.protocols[0].system("agent")
        assert agent is not None
        gap = agent.figures["ece"].value - agent.ece_if_calibrated.value
        assert result.targets[0].figure.value == pytest.approx(gap, abs=2e-6)
        outcomes.append((result.targets[0].outcome, result.targets[0].certain))
    assert outcomes == [("reached", False), ("missed", True)]


def test_fusion_reads_the_same_from_what_is_kept(shared: Path, tmp_path: Path) -> None:
    from tools.detectors.provenance import provenance

    tools = {"provenance": provenance}
    weighed = calibration({})
    labels = set()
    for path in sorted((shared / "provenance").iterdir())[:25]:
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
            continue
        scorer = Scorer(tools, Budget(), tmp_path)
        first = scorer.examine(path.read_bytes())
        scorer.close()
        again = Scorer(tools, Budget(), tmp_path)
        second = again.examine(path.read_bytes())
        assert again.fresh == 0
        before, after = (verdict(said.values(), 0.5, weighed) for said in (first, second))
        assert before == after
        labels.add(before.label)
    assert len(labels) > 1


def test_a_tool_that_raises_is_counted_and_not_kept(items, tmp_path: Path) -> None:
    @detector(name="broken", version="1", target="generated", cost=1.0)
    def broken(tool, image, budget) -> Evidence:
        """Breaks."""
        raise RuntimeError("no")

    for _ in range(2):
        result = run(
            suite(AS_IS), tmp_path, tmp_path, tools={"broken": broken}, calibration=calibration({}), given=items[:24],
            kept=tmp_path, say=False,
        )  # fmt: skip
        assert result.costs["broken"].failures == 24
        system = result.protocols[0].system("broken")
        assert system is not None
        assert system.answered == 0
        assert system.figures["auroc"].value is None


def test_maps_of_edits_are_measured_at_the_size_of_the_mask(tmp_path: Path) -> None:
    @detector(name="pointer", version="1", target="edited", cost=1.0)
    def pointer(tool, image, budget) -> Evidence:
        """Points at what is red."""
        red = (image.rgb[..., 0].astype(int) - image.rgb[..., 1] > 60)[::4, ::4].astype(np.float64)
        ref: MapRef = image.maps.add("where", red, "where")
        return tool.evidence(score=float(red.mean() > 0.01), maps=(ref,))

    image = picture(160, 120)
    image.paste((255, 0, 0), (40, 20, 80, 60))
    scorer = Scorer({"pointer": pointer}, Budget(), tmp_path)
    said = scorer.examine(encoded(image, "PNG"))["pointer"]
    scorer.close()
    kept = Scorer({"pointer": pointer}, Budget(), tmp_path).examine(encoded(image, "PNG"))["pointer"]
    assert kept.heat is not None
    np.testing.assert_array_equal(kept.heat, said.heat)
    from evals.measuring import placed

    mask = np.zeros((120, 160), dtype=bool)
    mask[20:60, 40:80] = True
    pointing, iou = placed(kept.heat, mask)
    assert pointing == 1.0
    assert iou > 0.9
    assert placed(kept.heat, ~mask)[0] == 0.0


def test_the_best_tool_must_have_been_calibrated_in_its_version() -> None:
    weighed = calibration({"a": 1.0, "b": 1.0}, {"a": (0.7, 0.9), "b": (0.6, 0.99)})
    assert best_single(weighed, {"a": knowing("a"), "b": knowing("b")}, "generated").tool == "a"
    assert best_single(weighed, {"b": knowing("b")}, "generated").tool == "b"
    assert best_single(weighed, {"b": knowing("b")}, "edited").tool is None
    assert best_single(calibration({}), {"b": knowing("b")}, "generated").tool is None


def test_every_shipped_suite_holds_and_a_wrong_one_says_why(tmp_path: Path) -> None:
    for path in suites.FOLDER.glob("*.toml"):
        if path.stem == "conversations":  # read by evals.conversations
            continue
        assert suites.load(path.stem).protocol
    with pytest.raises(ConfigurationError, match="smoke"):
        suites.load("no-such-suite")
    part = suites.load("smoke").only(["made-224-jpeg70"])
    assert [protocol.name for protocol in part.protocol] == ["made-224", "made-224-jpeg70"], "with what it is against"
    with pytest.raises(ConfigurationError, match="made-224"):
        part.only(["nothing"])
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('title = "x"\n[[protocol]]\nname = "a"\ntitle = "a"\ndata = ["test"]\nperturb = ["melt"]\n')
    with pytest.raises(ConfigurationError, match="melt"):
        suites.load(str(wrong))


def test_the_command_writes_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("evals.run.detectors", lambda: {"able": knowing("able", 1.5)})
    out = tmp_path / "out"
    kept = ["--kept", str(tmp_path / "kept")]
    main(["--suite", "smoke", "--data", str(tmp_path), "--out", str(out), *kept])
    assert {path.name for path in out.iterdir()} >= {"result.json", "page.html", "card.md"}
    assert "made-224" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="manifest"):
        main(["--suite", "matched", "--data", str(tmp_path), "--out", str(out), *kept])


def test_ranking_by_length_alone_is_nothing_at_equal_length() -> None:
    rng = np.random.default_rng(0)
    n = 400
    labels = np.arange(n) % 2
    lengths = (labels + rng.normal(0, 0.7, n))[:, None]
    table = Table(
        labels=labels, groups=[str(i) for i in range(n)], generators=[""] * n, sources=[""] * n, prior=0.5,
        lengths=lengths, scores={"length": lengths, "pixels": (labels + rng.normal(0, 0.7, n))[:, None]},
        kinds={"length": "tool", "pixels": "tool"},
    )  # fmt: skip
    length, pixels = figures.systems(table, seed=0, draws=40)
    assert length.figures["auroc"].value > 0.8
    assert length.figures["auroc_even"].value < 0.68, "only what is left inside a bin"
    assert pixels.figures["auroc_even"].value == pytest.approx(pixels.figures["auroc"].value, abs=0.04)
