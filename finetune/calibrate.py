"""Fits what `agent.fusion` leans on, from out-of-fold scores, and writes `agent/calibration.json` and its card.

    python -m finetune.calibrate --scores finetune/oof --out agent/calibration.json
    python -m finetune.calibrate --score-tools frequency --data DIR --scores finetune/oof
    python -m finetune.calibrate --beside finetune/oof/voice [--matched-alone vision] --out runs/voice.json    # a trial

What is fitted, and why so:

- *Several kinds of rows, and the worst counts.* `matched` rows (generated pictures against photographs) differ in
  subject and source, so that a tool can do well on them for the wrong reason. `aligned` rows (a photograph against its
  own passage through an autoencoder) cannot be told by subject, but know one autoencoder only. A tool that asks whether
  a picture was edited has `aligned` rows alone: an edit beside its own untouched photograph. Each kind has its own
  logistic; fusion takes the smaller log-likelihood ratio and 0 where the signs differ. A pool of both would let the
  larger, easier kind hide the other. A tool may be scored on re-shared copies too (`finetune.resharing`): they are
  kinds of their own (`matched_reshared`, `aligned_reshared`) and held to the same. From a file nobody can tell whether
  it was passed on, so that a ratio must be borne out by both.
- *Weight only where use is shown.* Cross-fitted by groups, the calibrated log-loss must beat the base rate on every
  kind with the whole 90 % bootstrap interval; else the tool's weight is 0. A tool without aligned rows has weight 0.
- *Small views apart.* A tool may judge pictures under one tile (224 px) by another head, on another scale. Their rows
  have buckets of their own, and must show use by themselves, in every kind; else they are left out, and the tool has no
  weight for such pictures.
- *Stacking.* Tools that look at the same pixels are correlated; a sum would count one trace twice. Their calibrated
  ratios are weighted by a logistic without intercept, 0 ≤ w ≤ 1, fitted on the rows they share, all kinds alike.
- *Bootstrap by group.* Generated pictures by generator, photographs by photograph (they come from four collections
  only, too few to draw from), aligned rows by photograph, so that a pair stays together. Draw d is the same for all.
- *Thresholds.* `generated` above the split-conformal quantile of cross-fitted sums over photographs (at most 5 % false
  alarms on every kind); `no_evidence` at or below the one over generated pictures (at most 10 % misses).

Neither test/ nor pairs/ is read here.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent import fusion
from agent.calibration import DRAWS, SMALL_SIDE, Array, CalibratedTool, Calibration, Threshold
from agent.claims import Question
from evals import metrics
from finetune.logistic import DIGITS, Plan, conformal_above, cross_fitted, fit_buckets, gain
from finetune.scores import Rows, read
from finetune.stacking import Joined, cross_fitted_sums, stack
from tools.contract import Number
from tools.errors import ConfigurationError

NARROW = 0.5
"""Share of its ratio that a tool keeps where its use is shown on one kind of row only, or on passages through a decoder
that it knew: expert judgement."""
KINDS: dict[Question, tuple[str, ...]] = {"generated": ("aligned", "matched"), "edited": ("aligned",)}
"""Kinds of rows in which a tool must show its use. An edit is always set beside its own untouched photograph."""
KIND_WORDS: dict[Question, dict[str, str]] = {
    "generated": {
        "aligned": "photographs against their own passage through an autoencoder",
        "aligned_reshared": "re-shared photographs against their own re-shared passage through an autoencoder",
        "matched": "generated pictures against photographs",
        "matched_reshared": "re-shared generated pictures against re-shared photographs",
    },
    "edited": {"aligned": "photographs against edits made in them"},
}
LEAST_GROUPS = 5
COMMAND = "python -m finetune.calibrate --scores finetune/oof --out agent/calibration.json"
LITTLE = 0.05
"""Bits a picture under which a tool's use is called very little; 1 bit would be certainty."""
FALSE_ALARMS = 0.05
MISSES = 0.10


@dataclass(frozen=True, slots=True)
class Spoken:
    """What must be known of a tool beside its scores."""

    version: str
    target: Question = "generated"


def usefulness(
    rows: Rows, llr: Array, drawn: Array, target: Question = "generated", kinds: Sequence[str] | None = None
) -> tuple[bool, str, dict[str, Number]]:
    """Whether use is shown, in words, and the figures behind it; in `kinds` instead of `KINDS` where given."""
    figures: dict[str, Number] = {}
    missing = [kind for kind in kinds or KINDS[target] if kind not in rows.kinds]
    failed = [f"it has no {kind} rows" for kind in missing]
    guessed: list[str] = []
    for kind in rows.kinds:
        inside = rows.kind == kind
        y, z = rows.y[inside], llr[inside]
        for name, label in ((target, 1), ("photographs", 0)):
            figures[f"{kind}_{name}"] = int(np.sum(y == label))
            pictures = len(set(rows.picture[inside & (rows.y == label)]))
            figures[f"{kind}_{name}_independent"] = pictures
            if len(set(rows.group[inside & (rows.y == label)])) < LEAST_GROUPS:
                failed.append(f"its {kind} {name} come from fewer than {LEAST_GROUPS} groups")
        replicates = np.array([gain(z, y, c) for c in drawn[:, inside]])
        replicates = replicates[np.isfinite(replicates)]
        point = gain(z, y)
        low, high = np.percentile(replicates, [5, 95]) if len(replicates) else (math.nan, math.nan)
        area = metrics.auroc(y, rows.score[inside])
        if not all(map(math.isfinite, (point, low, high))):
            failed.append(f"its {kind} rows are too few to cross-fit")
            continue
        figures |= {f"{kind}_auroc": round(area, 4), f"{kind}_gain_bits": round(point, 4)}
        figures |= {f"{kind}_gain_low": round(float(low), 4), f"{kind}_gain_high": round(float(high), 4)}
        if low <= 0:
            guessed.append(KIND_WORDS[target][kind])
    if guessed:
        where = "pictures" if len(guessed) == len(rows.kinds) else guessed[0]
        failed.append(f"on held-out {where} it told no more than guessing")
    if failed:
        return False, f"its use is not shown: {' and '.join(failed)}: weight zero", figures
    least = min(float(figures[f"{kind}_gain_bits"]) for kind in rows.kinds)
    word = "very little use, yet shown" if least < LITTLE else "use shown"
    return True, f"{word} on held-out pictures", figures


def _with_small(rows: Rows, plan: Plan, target: Question) -> tuple[Rows, str, dict[str, Number]]:
    """The rows that count, what is to be said of small views, and their figures (`small_...`).

    Small views are left out where their use is not shown by themselves.
    """
    small = rows.small
    if small.all() or not small.any():
        return rows, "", {}
    own = rows.where(small)
    shown, because, found = usefulness(own, cross_fitted(own, plan), plan.drawn(own), target)
    figures: dict[str, Number] = {f"small_{name}": value for name, value in found.items()}
    gains = ", ".join(f"{kind} {found.get(f'{kind}_gain_bits', '-')}" for kind in own.kinds)
    note = f"; under {SMALL_SIDE} px on the shorter side: {because} (gain in bits: {gains})"
    return (rows if shown else rows.where(~small)), note, figures


def _thresholds(joined: Joined, sums: Array, question: Question) -> tuple[Threshold, Threshold]:
    """For the label and for `no_evidence`, each with what it gave on these rows."""
    kinds = sorted(set(joined.kind))
    upper = max(conformal_above(sums[(joined.kind == k) & (joined.y == 0)], FALSE_ALARMS) for k in kinds)
    lower = min(-conformal_above(-sums[(joined.kind == k) & (joined.y == 1)], MISSES) for k in kinds)
    upper = min(upper, fusion.PIXEL_CAP)  # nothing exceeds the cap, so that this one is never passed by pixels alone
    lower = max(lower, -fusion.PIXEL_CAP - 1)
    above, below = max(upper, fusion.LABEL_FLOOR), min(lower, fusion.NO_EVIDENCE_CEILING)
    figures: tuple[dict[str, Number], dict[str, Number]] = ({}, {})
    for kind in kinds:
        for y, word in ((0, "photographs"), (1, question)):
            inside = (joined.kind == kind) & (joined.y == y)
            n = int(inside.sum())
            for place, hit in ((0, sums > above), (1, sums <= below)):
                count = int(np.sum(hit & inside))
                low, high = metrics.wilson(count, n)
                figures[place][f"{kind}_{word}"] = round(count / n, 4)
                figures[place][f"{kind}_{word}_interval"] = f"{low:.4f} to {high:.4f} of {n}"
    for source in sorted(set(joined.source[joined.y == 0])):
        inside = (joined.y == 0) & (joined.source == source)
        figures[0][f"photographs of {source}"] = round(float(np.mean(sums[inside] > above)), 4)
    return (
        Threshold(
            llr=round(upper, DIGITS),
            because=f"at most {FALSE_ALARMS:.0%} of cross-fitted photographs, in every kind, lie above it; the floor "
            f"of {fusion.LABEL_FLOOR:.2f} in agent/fusion.py holds beside it",
            figures=figures[0],
        ),
        Threshold(
            llr=round(lower, DIGITS),
            because=f"at most {MISSES:.0%} of cross-fitted {question} pictures, in every kind, lie at or below it; "
            f"the ceiling of {fusion.NO_EVIDENCE_CEILING:.2f} in agent/fusion.py holds beside it",
            figures=figures[1],
        ),
    )


def calibrate(
    scores: Mapping[str, Rows],
    spoken: Mapping[str, Spoken],
    *,
    data_sha256: str = "",
    seed: int = 0,
    draws: int = DRAWS,
    made_by: str = COMMAND,
    matched_alone: Collection[str] = (),
) -> Calibration:
    """The calibration of all tools from their out-of-fold rows; the same rows and seed give the same file.

    Tools of `matched_alone` are judged and weighted by their matched rows, as if they had no others. That is for trials
    of what such a weight would do; no file that ships is made so.

    Raises:
        ConfigurationError: A tool with scores is not among `spoken`.
    """
    unknown = sorted(set(scores) - set(spoken))
    if unknown:
        raise ConfigurationError(
            f"There are scores for {', '.join(unknown)}, but no detector of that name.",
            remedy="Remove the file or add the detector.",
        )
    plan = Plan.of((scores[name] for name in sorted(scores)), draws, seed)
    found: dict[str, CalibratedTool] = {}
    useful: dict[Question, list[str]] = {"generated": [], "edited": []}
    counted: dict[str, Rows] = {}
    for name in sorted(scores):
        whole, kinds = scores[name], None
        if name in matched_alone:
            whole, kinds = whole.where(whole.kind == "matched"), ("matched",)
        rows, note, about_small = _with_small(whole, plan, spoken[name].target)
        counted[name] = rows
        drawn, llr = plan.drawn(rows), cross_fitted(rows, plan)
        main = np.ones(len(rows.score), dtype=bool) if rows.small.all() else ~rows.small
        shown, because, figures = usefulness(rows.where(main), llr[main], drawn[:, main], spoken[name].target, kinds)
        because, figures = because + note, figures | about_small
        if shown:
            useful[spoken[name].target].append(name)
        found[name] = CalibratedTool(
            version=spoken[name].version,
            target=spoken[name].target,
            weight=0.0,
            weight_draws=(0.0,) * draws,
            because=because,
            least_quality=float(rows.jpeg_quality.min()),
            least_short_side=float(rows.short_side.min()),
            figures=figures,
            buckets=fit_buckets(rows, np.ones(len(rows.score), dtype=bool), drawn) if shown else {},
        )
    silent = Threshold(llr=fusion.LABEL_FLOOR, because="no pixel tool has weight for this question: the floor alone")
    bars: dict[Question, Threshold] = {"generated": silent, "edited": silent}
    none = Threshold(llr=fusion.NO_EVIDENCE_CEILING, because="no pixel tool has weight: the ceiling alone")
    for question, names in useful.items():
        if not names:
            continue
        tools = [counted[name] for name in names]
        joined = Joined.of(tools, plan)
        point, drawn = stack(joined, tools, [found[name].buckets for name in names], draws)
        for place, name in enumerate(names):
            # Where one kind of row, or one decoder that it knew, is all that a tool was tried on, nothing tells how it
            # fares on pictures of other makes.
            trusted = NARROW if len(KINDS[question]) < 2 or counted[name].met else 1.0
            share = round(float(point[place]) * trusted, DIGITS)
            note = f"; beside the other tools it keeps {share:.2f} of its own ratio"
            if trusted < 1:
                note += ", half of it taken off because it was tried on alterations or passages of known make only"
            found[name] = found[name].model_copy(
                update={
                    "weight": share,
                    "weight_draws": tuple(round(float(w) * trusted, DIGITS) for w in drawn[:, place]),
                    "because": found[name].because
                    + (note if share else f"{note}, since they say the same: weight zero"),
                }
            )
        above, below = _thresholds(joined, cross_fitted_sums(joined, tools, plan), question)
        bars[question] = above
        none = below if question == "generated" else none
    return Calibration(
        made_by=made_by,
        seed=seed,
        draws=draws,
        data_sha256=data_sha256,
        rows={name: len(scores[name].score) for name in sorted(scores)},
        tools=found,
        generated=bars["generated"],
        edited=bars["edited"],
        no_evidence=none,
    )


def installed() -> dict[str, Spoken]:
    """Version and target of every detector of the catalogue that judges."""
    from tools.catalogue import detectors

    return {
        name: Spoken(tool.version, "edited" if tool.target == "edited" else "generated")
        for name, tool in detectors().items()
        if tool.target != "context"
    }


def voice() -> dict[str, Spoken]:
    """Version and target of the vision-language model that ships, which is no detector of the catalogue."""
    from agent import models
    from agent.embedded import version_of
    from agent.settings import Settings

    return {"vision": Spoken(version_of(models.composed_folder(Settings().cache), models.adapter()))}


_COLUMNS = {
    "aligned": "aligned",
    "matched": "matched",
    "aligned_reshared": "re-shared aligned",
    "matched_reshared": "re-shared matched",
}


def card(made: Calibration) -> str:
    """What the calibration file holds, for readers; written beside it."""
    lines = [
        "# Calibration of the tools",
        "",
        "Written by `finetune/calibrate.py` together with `calibration.json`; what is fitted, and why so, stands at "
        "its top. What the numbers do to a verdict: docs/VERDICTS.md.",
        "",
        f"- Command: `{made.made_by}`",
        f"- Scores: {', '.join(f'{name} {n}' for name, n in made.rows.items()) or 'none'}; "
        f"sha256 `{made.data_sha256 or 'none'}`",
        f"- Bootstrap: {made.draws} draws by group, seed {made.seed}",
        "- Data: train/ and photos/ of the shared data through `evals.perturb.Chain` (224 px crops, JPEG 70 to 95; "
        "for semantic also views of 128 to 208 px, and re-shared copies of both by `finetune/resharing.py`); test/ "
        "and pairs/ were not read. Larger pictures are judged by what was found on these crops.",
        "",
        "Gain is what a picture's calibrated score tells beyond the base rate, in bits, out of fold; in brackets its "
        "90 % interval. A tool has weight only where every interval lies above 0.",
        "",
        f"| tool | version | weight | {' | '.join(f'{kind} AUROC | {kind} gain' for kind in _COLUMNS.values())} "
        "| why |",
        "|---|---|---|" + "---|---|" * len(_COLUMNS) + "---|",
        *(
            f"| {name} | {tool.version} | {tool.weight:.2f} | "
            f"{' | '.join(_told(tool.figures, kind) for kind in _COLUMNS)} | {tool.because} |"
            for name, tool in made.tools.items()
        ),
        "",
        "| label | log-likelihood ratio | why | out of fold |",
        "|---|---|---|---|",
    ]
    for word, bar in (("generated", made.generated), ("edited", made.edited), ("no_evidence", made.no_evidence)):
        figures = "; ".join(f"{name}: {value}" for name, value in bar.figures.items())
        lines.append(f"| `{word}` | {bar.llr:.3f} | {bar.because} | {figures} |")
    return "\n".join(lines) + "\n"


def _told(figures: Mapping[str, Number], kind: str) -> str:
    """Two cells of the card: AUROC, and gain with its interval."""
    if f"{kind}_auroc" not in figures:
        return "- | -"
    gain, low, high = (f"{figures[f'{kind}_gain_{name}']:+}" for name in ("bits", "low", "high"))
    return f"{figures[f'{kind}_auroc']} | {gain} [{low}, {high}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the calibration, or the score files of hand-made tools."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, default=Path("finetune/oof"), help="folder of <tool>.csv")
    parser.add_argument("--reviewed", type=Path, help="folder of rows that finetune.reviewed wrote, to be added")
    parser.add_argument("--beside", type=Path, help="folder of more <tool>.csv, for a trial (finetune.voice)")
    parser.add_argument(
        "--matched-alone", nargs="+", default=[], metavar="TOOL",
        help="for a trial: these tools are judged by their matched rows alone",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="calibration file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score-tools", nargs="+", metavar="TOOL", help="write score files of these tools instead")
    parser.add_argument("--data", type=Path, help="folder of shared data, for --score-tools")
    parser.add_argument("--taef2", type=Path, help="folder of the TAEF2 weights, for --score-tools")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where aligned twins are kept")
    options = parser.parse_args(arguments)
    if options.score_tools:
        if options.data is None or options.taef2 is None:
            parser.error("--score-tools needs --data and --taef2")
        from finetune.scores import score

        for name in options.score_tools:
            print(score(name, options.data, options.taef2, options.work / "twins", options.scores))
        return
    if options.out is None:
        parser.error("--out is missing: where shall the calibration be written?")
    rows, digest = read(options.scores, options.reviewed)
    spoken = installed()
    if options.beside is not None:
        more, other = read(options.beside)
        rows, digest = rows | more, hashlib.sha256(f"{digest} {other}".encode()).hexdigest()
        spoken |= voice()
    made = calibrate(
        rows,
        spoken,
        data_sha256=digest,
        seed=options.seed,
        made_by=(COMMAND if options.beside is None else COMMAND.partition(" --out")[0])
        + (f" --seed {options.seed}" if options.seed else "")
        + (f" --reviewed {options.reviewed.name}" if options.reviewed else "")
        + (f" --beside {options.beside}" if options.beside else "")
        + (f" --matched-alone {' '.join(options.matched_alone)}" if options.matched_alone else ""),
        matched_alone=options.matched_alone,
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(made.model_dump_json() + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(card(made), encoding="utf-8")
    for name, tool in made.tools.items():
        print(f"{name} {tool.version}: weight {tool.weight:.2f}; {tool.because}")
    for word, bar in (("generated", made.generated), ("edited", made.edited), ("no_evidence", made.no_evidence)):
        print(f"{word}: llr {bar.llr:.3f}; {bar.because}; {bar.figures}")


if __name__ == "__main__":
    main()
