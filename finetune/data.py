"""Builds what the vision-language model is trained on: views with known truth and their cached tokens, and rows.

    python -m finetune.data --data DIR --base COMPOSED --out FOLDER [--views 4000] [--cases 1000] [--seed 0]
    python -m finetune.data --data DIR --base COMPOSED --out FOLDER --seen EARLIER --cases 1000

One command, seeded. It writes `tokens.safetensors` (the image tower's tokens of every view: what the projector reads,
computed once), `views.json` (what is true of each view), `rows.jsonl` (`finetune.sft.Row`), and `card.json` (counts,
sources and hashes). Views are lab views of photographs (`evals.artifacts`), planted and untouched, and views of
generated pictures of train/, through one and the same crop, squeeze and save. Cases are made (`finetune.cases`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from agent.models import FEATURE_LAYERS
from agent.outline import Point
from agent.prompt import (
    PROMPT_VERSION,
    Kind,
    Look,
    Observation,
    Spoken,
    look_messages,
    sentence_messages,
)
from evals import datasets
from evals.artifacts import KINDS, Planted, Sample, Split, photographs, samples, view_of
from evals.layouts import FAKECLUE_LABELS
from evals.perturb import decode, jpeg, seed_of
from evals.tokens import BATCH, TokenMaker
from finetune.cases import case
from finetune.narration import explained, replied
from finetune.questions import QUESTIONS, asked
from finetune.sft import Row, write_rows
from tools.errors import ConfigurationError

SEEN: tuple[Kind, ...] = get_args(Kind)
"""Kinds that the model is trained to name."""
CELLS = 14
"""Patches along a side of a view."""
_VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif"})
FIRST_CASE = 10_000
"""Seed of the first case."""
NATIVE, WHOLE = "a native crop", "the whole picture"


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a view.

    Attributes:
        kind, place, strength: Of what was planted; None where nothing was.
        made: Whether the picture was made by a generative model.
        share: CELLS*CELLS, how much of each patch was altered, row by row.
    """

    id: str
    kind: str | None
    place: str | None
    strength: str | None
    native: bool
    made: bool
    share: tuple[float, ...]

    @property
    def look(self) -> Look:
        """The reply that says this and no more."""
        seen: list[Observation] = []
        if self.kind is not None:
            seen.append(Observation.model_validate({"kind": self.kind, "place": self.place, "strength": self.strength}))
        return Look(observations=seen, answer="generated" if self.made or seen else "photograph")

    @property
    def view(self) -> str:
        """The view's name in the prompt."""
        return NATIVE if self.native else WHOLE


def truth_of(made: Sample) -> Truth:
    """What is true of a lab view."""
    seen = made.planting
    if seen is None:
        return Truth(made.id, None, None, None, made.native, False, (0.0,) * CELLS**2)
    side = seen.mask.shape[0] // CELLS
    share = seen.mask.reshape(CELLS, side, CELLS, side).mean(axis=(1, 3)).reshape(-1)
    return Truth(
        made.id, seen.kind, seen.place, seen.word, made.native, False, tuple(round(float(part), 3) for part in share)
    )


def lab_views(data: Path, split: Split, count: int, seed: int) -> Iterator[tuple[npt.NDArray[np.uint8], Truth]]:
    """Lab views of the kinds that the model names, two fifths of them untouched."""
    kinds: list[Planted] = list(SEEN)
    for made in samples(photographs(data, split), split, count, untouched=0.4, kinds=kinds, seed=seed):
        yield made.pixels, truth_of(made)


def made_views(data: Path, count: int, seed: int) -> Iterator[tuple[npt.NDArray[np.uint8], Truth]]:
    """Views of generated pictures of train/, cut, squeezed and saved as the lab's are."""
    items = [item for item in datasets.labelled(data, "train") if item.label == "generated"]
    rng = np.random.default_rng(seed_of("made/train", seed))
    for draw in range(count):
        item = items[int(rng.integers(len(items)))]
        rgb = item.pixels()
        if item.panes > 1:
            half_y, half_x = rgb.shape[0] // item.panes, rgb.shape[1] // item.panes
            y, x = int(rng.integers(item.panes)), int(rng.integers(item.panes))
            rgb = rgb[y * half_y : (y + 1) * half_y, x * half_x : (x + 1) * half_x]
        if min(rgb.shape[:2]) < 224:
            continue
        view, native = view_of(rgb, rng)
        if rng.random() < 0.5:
            view = decode(jpeg(view, int(rng.integers(75, 97))))
        yield view, Truth(f"{item.id}#{draw}", None, None, None, native, True, (0.0,) * CELLS**2)


def look_rows(truths: Sequence[Truth], first: int = 0) -> list[Row]:
    """A row for each view; `first` is the number of the first view in the token cache."""
    return [
        Row("look", look_messages("", truth.view), truth.look.model_dump_json(), view=first + index)
        for index, truth in enumerate(truths)
    ]


def case_rows(seeds: Iterable[int]) -> list[Row]:
    """A row for each sentence of each case's explanation, and for every second case those of an answer."""
    rows = []
    for seed in seeds:
        made, rng = case(seed), np.random.default_rng(seed)
        rows += [_sentence("explain", point, text) for point, text in explained(made)]
        if seed % 2:
            question = asked(str(rng.choice(list(QUESTIONS))), rng)
            rows += [_sentence("answer", point, text, question) for point, text in replied(made, question)]
    return rows


def _sentence(task: str, point: Point, text: str, question: str | None = None) -> Row:
    return Row(task, sentence_messages(point.line, point.manner, question), Spoken(text=text).model_dump_json())


def build(
    data: Path, base: Path, out: Path, *, views: int, made: int, cases: int, seed: int, seen: Path | None = None
) -> dict[str, Any]:
    """Builds everything in `out`, its views from `seen` where an earlier build is to be taken over; the card."""
    out.mkdir(parents=True, exist_ok=True)
    if seen is None:
        truths = _build_views(data, base, out, views=views, made=made, seed=seed)
    else:
        truths = read_truths(seen / "views.json")
        for name in ("tokens.safetensors", "views.json"):
            shutil.copyfile(seen / name, out / name)
    rows = look_rows(truths) + case_rows(range(FIRST_CASE, FIRST_CASE + cases))
    write_rows(out / "rows.jsonl", rows)
    kinds = Counter(truth.kind or ("generated picture" if truth.made else "untouched") for truth in truths)
    sources = Counter(item.source for item in photographs(data, "train"))
    found = {
        "seed": seed,
        "prompt_version": PROMPT_VERSION,
        "layers": list(FEATURE_LAYERS),
        "views": dict(kinds),
        "left_out": f"{', '.join(kind for kind in KINDS if kind not in SEEN)}: finetune/RESULTS.md",
        "cases": cases,
        "rows": dict(Counter(row.task for row in rows)),
        "photographs": dict(sources),
        "generated_pictures": "train/ of the shared data (43 diffusion models, face GANs)",
        "licences": licences(data),
        "sha256": {name: _sha256(out / name) for name in ("tokens.safetensors", "views.json", "rows.jsonl")},
    }
    (out / "card.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def licences(data: Path) -> dict[str, list[str]]:
    """What the sources of photographs and generated pictures state of their terms, by source."""
    stated: dict[str, set[str]] = {}
    made = (item for item in datasets.labelled(data, "train") if item.label == "generated")
    for item in (*photographs(data, "train"), *made):
        stated.setdefault(item.source, set()).add(item.licence or "not stated in the manifest")
    return {source: sorted(terms) for source, terms in sorted(stated.items())}


def _build_views(data: Path, base: Path, out: Path, *, views: int, made: int, seed: int) -> list[Truth]:
    """Makes the views and writes their tokens and truths."""
    from safetensors.numpy import save_file

    maker = TokenMaker(base)
    truths: list[Truth] = []
    tokens: list[npt.NDArray[np.float16]] = []
    waiting: list[npt.NDArray[np.uint8]] = []

    def flush() -> None:
        if waiting:
            tokens.append(maker(waiting))
            waiting.clear()

    for source in (lab_views(data, "train", views, seed), made_views(data, made, seed)):
        for pixels, truth in source:
            truths.append(truth)
            waiting.append(pixels)
            if len(waiting) == BATCH:
                flush()
                if len(truths) % (25 * BATCH) == 0:
                    print(f"{len(truths)} views", flush=True)
    flush()
    save_file({"tokens": np.concatenate(tokens)}, out / "tokens.safetensors")
    listed = [
        {name: getattr(truth, name) for name in ("id", "kind", "place", "strength", "native", "made", "share")}
        for truth in truths
    ]
    (out / "views.json").write_text(json.dumps(listed) + "\n", encoding="utf-8")
    return truths


def read_truths(file: Path) -> list[Truth]:
    """The truths that `build` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [Truth(**(row | {"share": tuple(row["share"])})) for row in rows]


def from_fakeclue(file: Path, pictures: Path) -> Iterator[Row]:
    """Rows of a FakeClue JSON file: a list of objects with `image`, `label` (0 for fake) and `conversations`.

    The answer is taken from the label, which is a field of its own, and never from the prose. What the annotation says
    beyond it names neither one of our kinds nor a place, so that it is no observation that could be marked.

    Raises:
        ConfigurationError: for a file of another form.
    """
    for number, item in enumerate(_listed(file)):
        label = item.get("label")
        if label not in (0, 1, "0", "1") or "image" not in item or "conversations" not in item:
            raise ConfigurationError(
                f"{file.name}, item {number}: not a FakeClue row.",
                remedy="It needs image, label (0 or 1), conversations.",
            )
        yield _judged(pictures / str(item["image"]), made=FAKECLUE_LABELS[int(label)] == "generated")


def from_ivy_fake(file: Path, pictures: Path) -> Iterator[Row]:
    """Rows of an Ivy-Fake JSON file: objects with `rel_path` and `<think>...</think><conclusion>...</conclusion>`.

    The conclusion is read from its tag in `raw_ground_truth`, and must be what `label` says where there is one. Videos
    are left out.

    Raises:
        ConfigurationError: for a file of another form, or a conclusion that contradicts its label.
    """
    for number, item in enumerate(_listed(file)):
        said = re.search(
            r"<conclusion>\s*(real|fake)\s*</conclusion>", str(item.get("raw_ground_truth", "")), re.IGNORECASE
        )
        if said is None or "rel_path" not in item:
            raise ConfigurationError(
                f"{file.name}, item {number}: not an Ivy-Fake row.",
                remedy="It needs rel_path, and raw_ground_truth with <conclusion>real or fake</conclusion>.",
            )
        conclusion = said[1].lower()
        if item.get("label", conclusion) != conclusion:
            raise ConfigurationError(
                f"{file.name}, item {number}: labelled {item['label']}, concluded {conclusion}.", remedy="Mend the row."
            )
        path = pictures / str(item["rel_path"])
        if path.suffix.lower() not in _VIDEOS:
            yield _judged(path, made=conclusion == "fake")


def _listed(file: Path) -> list[dict[str, Any]]:
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigurationError(f"{file.name} is not a list of rows.", remedy="Pass the JSON file as published.")
    return found


def _judged(picture: Path, *, made: bool) -> Row:
    reply = Look(observations=[], answer="generated" if made else "photograph")
    return Row("look", look_messages("", WHOLE), reply.model_dump_json(), picture=str(picture))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, default=4000)
    parser.add_argument("--made", type=int, default=500)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seen", type=Path, help="Folder of an earlier build: its views are taken over.")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    card = build(
        args.data, args.base, args.out, views=args.views, made=args.made, cases=args.cases, seed=args.seed,
        seen=args.seen,
    )  # fmt: skip
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
