"""Marks explanations before grounding drops anything: how much is grounded, what follows the evidence, how it varies.

    python -m evals.explanations --cases CASES.jsonl --cache CACHE --out explanations.json

`--cases` holds cases, one JSON object a line with `verdict`, `evidence` and `contributions`: made ones
(`python -m finetune.cases --count 100 --held-out --out CASES.jsonl`) or reports of the service. Three figures:

* *grounded*: sentences of the raw output that `agent.grounding` lets stand, of all;
* *removed*: a case is told again without one piece of evidence that a sentence cited; the sentence is gone where no
  sentence cites it or names its tool;
* *distinct*: different sentences of all, and different wordings once numbers, quotations and names of tools are taken
  out; beside those of the plain template on the same cases.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent import models
from agent.forms import form_of
from agent.grounding import ground
from agent.llava import Llava
from agent.outline import explanation
from agent.prompt import Spoken, brief, sentence_messages
from agent.template import TemplateNarrator
from agent.verdict import Contribution, Sentence, Verdict
from agent.vision import LONGEST_SENTENCE
from agent.vision import Told as Gathered
from tools.contract import Evidence

_BATCH = 16
Explained = tuple[Sentence, ...]
Narrate = Callable[["Sequence[Told]"], "list[Explained]"]


@dataclass(frozen=True, slots=True)
class Told:
    """A case as fusion leaves it."""

    verdict: Verdict
    evidence: tuple[Evidence, ...]
    contributions: tuple[Contribution, ...]

    def without(self, evidence_id: str) -> Told:
        """The case as if one piece of evidence had not been there; the verdict's numbers stay."""
        conflicts = tuple(each for each in self.verdict.conflicts if evidence_id not in each.evidence_ids)
        missing = tuple(each for each in self.verdict.not_examined if not each.startswith(f"{evidence_id} gave"))
        return Told(
            self.verdict.model_copy(update={"conflicts": conflicts, "not_examined": missing}),
            tuple(item for item in self.evidence if item.id != evidence_id),
            tuple(entry for entry in self.contributions if entry.evidence_id != evidence_id),
        )


def read(file: Path) -> list[Told]:
    """The cases of a JSON Lines file; reports of the service are cases too."""
    cases = []
    for line in file.read_text(encoding="utf-8").splitlines():
        raw = json.loads(line)
        cases.append(
            Told(
                Verdict.model_validate(raw["verdict"]),
                tuple(Evidence.model_validate(each) for each in raw["evidence"]),
                tuple(Contribution.model_validate(each) for each in raw["contributions"]),
            )
        )
    return cases


def by_model(model: Llava, *, light: bool = True, name: str = "", keep: Path | None = None) -> Narrate:
    """Narrates with a model in process, with the requests and form of the service, several sentences side by side.

    With `light` answers are written in float32 and all else in 8 bits, as the service does in process; without it all
    is written in float32, as a server on a CPU does.

    The same request gives the same sentence (decoding is greedy), so that each is made once, and kept in the file
    `keep` under the model's `name` where there is one.
    """
    known: dict[tuple[str, str], str] = {}
    about = [name, light]
    if keep is not None and keep.is_file() and (kept := json.loads(keep.read_text(encoding="utf-8")))["about"] == about:
        known = {(line, manner): text for line, manner, text in kept["sentences"]}

    def narrate(cases: Sequence[Told]) -> list[Explained]:
        outlines = [explanation(each.verdict, each.evidence, each.contributions) for each in cases]
        for eight_bits in (False, True):
            wanted = {
                (each.line, each.manner)
                for points in outlines
                for each in points
                if (light and each.role != "answer") == eight_bits
            }
            todo = sorted(wanted - known.keys(), key=lambda each: (len(each[0]), each))  # so that little is padded
            for begin in range(0, len(todo), _BATCH):
                some = todo[begin : begin + _BATCH]
                begun = time.monotonic()
                asked = [sentence_messages(line, manner) for line, manner in some]
                written = model.write(
                    asked, form_of(Spoken), max_new_tokens=LONGEST_SENTENCE, timeout_s=1200, light=eight_bits
                )
                known.update(zip(some, (each.text for each in written), strict=True))
                done = begin + len(some)
                print(f"{done} of {len(todo)} sentences, {time.monotonic() - begun:.0f} s for {len(some)}", flush=True)
        if keep is not None:
            sentences = [(*asked_for, text) for asked_for, text in known.items()]
            keep.write_text(json.dumps({"about": about, "sentences": sentences}), encoding="utf-8")
        told = []
        for points in outlines:
            gathered = Gathered(points, None)
            for number, point in enumerate(points):
                gathered.came(number, known[point.line, point.manner])
            told.append(gathered.whole())
        return told

    return narrate


def by_template(cases: Sequence[Told]) -> list[Explained]:
    """Narrates with the plain template."""
    return [TemplateNarrator().narrate(each.verdict, each.evidence, each.contributions) for each in cases]


def wording(text: str, case: Told) -> str:
    """A sentence without its numbers, what it quotes, and names of tools: what is left is its wording."""
    texts = [each.text for item in case.evidence for each in item.findings]
    texts += [item.abstained_because or "" for item in case.evidence] + list(case.verdict.not_examined)
    for quoted in sorted({brief(each) for each in texts if each}, key=len, reverse=True):
        text = re.sub(re.escape(quoted), "Q", text, flags=re.IGNORECASE)
    for item in case.evidence:
        text = re.sub(rf"\b{re.escape(item.detector.replace('_', ' '))}\b", "T", text)
    text = re.sub(r"T(?:, T)*(?: and T)", "T", text)
    text = re.sub(r"“[^”]*”|: .*", "Q", text)
    return re.sub(r"\d+(?:\.\d+)?", "N", text)


def mark(cases: Sequence[Told], narrate: Narrate, *, removals: int) -> dict[str, Any]:
    """The three figures of one narrator; evidence is taken away from the first `removals` cases that cite any."""
    told = narrate(cases)
    kept = total = answered = 0
    refused: Counter[str] = Counter()
    for case, sentences in zip(cases, told, strict=True):
        found = ground(sentences, case.verdict, case.contributions, case.evidence)
        kept, total = kept + len(found.kept), total + len(sentences)
        answered += any(each.role == "answer" for each in found.kept)
        refused.update(each.because for each in found.dropped)
    taken = _taken(cases, told)[:removals]
    again = narrate([case.without(name) for case, name in taken])
    gone = sum(not _speaks_of(sentences, case, name) for (case, name), sentences in zip(taken, again, strict=True))
    return {
        "cases": len(cases),
        "sentences": total,
        "grounded": round(kept / max(total, 1), 3),
        "answers_grounded": round(answered / max(len(cases), 1), 3),
        "removed": round(gone / len(taken), 3) if taken else None,
        "removals": len(taken),
        "distinct_sentences": len({each.text for sentences in told for each in sentences}),
        "distinct_wordings": len(
            {wording(each.text, case) for case, sentences in zip(cases, told, strict=True) for each in sentences}
        ),
        "refused": dict(refused.most_common(8)),
    }


def _taken(cases: Sequence[Told], told: Sequence[Explained]) -> list[tuple[Told, str]]:
    """Of each case that cites evidence a piece, drawn from a seed."""
    rng = np.random.default_rng(0)
    out = []
    for case, sentences in zip(cases, told, strict=True):
        there = {item.id for item in case.evidence}
        cited = sorted({name for each in sentences for name in each.cites if name in there})
        if cited and len(case.evidence) > 1:
            out.append((case, cited[int(rng.integers(len(cited)))]))
    return out


def _speaks_of(sentences: Explained, case: Told, evidence_id: str) -> bool:
    """Whether a sentence cites a piece of evidence, or names its tool."""
    detector = next(item.detector for item in case.evidence if item.id == evidence_id)
    named = re.compile(rf"\b{re.escape(detector.replace('_', ' '))}\b tool", re.IGNORECASE)
    return any(evidence_id in each.cites or named.search(each.text) for each in sentences)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--vlm", type=Path, default=models.FOLDER, help="Folder that finetune.export wrote.")
    parser.add_argument("--float32", action="store_true", help="Write as a server on a CPU does, not as in process.")
    parser.add_argument("--keep", type=Path, help="File of what the model wrote, so that it is asked once.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--removals", type=int, default=30)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    cases = read(args.cases)[: args.count]
    adapter = models.adapter(args.vlm)
    folder = models.compose(args.cache, folder=args.vlm)
    model = Llava(folder, adapter.folder if adapter else None)
    name = f"{adapter.name}@{adapter.revision}" if adapter else "base without adapter"
    written = by_model(model, light=not args.float32, name=f"{folder.name} {name}", keep=args.keep)
    found = {
        "template": mark(cases, by_template, removals=args.removals),
        name: mark(cases, written, removals=args.removals),
    }
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
