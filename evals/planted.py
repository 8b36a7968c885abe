"""Marks what the vision-language model says of planted artifacts: kind, place, and silence where there is nothing.

    python -m evals.planted --data DIR --built BUILT --cache CACHE --count 500 --out planted.json

Views come from the artifact lab's test split: photographs and strengths that no training saw. Four answers are marked
on the same views: the model with its adapter; the same model without; the best constant answer; and a linear probe on
the very tokens that the model is given: a softmax over a patch's token, fitted on the training views of `--built`, then
the mean of the ten patches that show a kind most. The probe's own threshold lies where a fifth of the training views,
which it was not fitted on, are silent in 95 % of untouched cases. A planted view counts as right in kind, or in place,
where the first observation has it.

Who claims more readily names more kinds right, and is silent less. So model and probe are also held against each other
at one and the same silence: each at the threshold that leaves it silent on that share of these untouched views. The
difference is drawn again by photograph, thresholds included.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from agent import models
from agent.forms import form_of
from agent.llava import Llava
from agent.prompt import Kind, Look, look_messages
from evals import metrics
from evals.artifacts import PLACES, Planted, Sample, Split, photographs, samples
from evals.tokens import TokenMaker
from tools.errors import ConfigurationError

KINDS: tuple[Kind, ...] = get_args(Kind)
Said = tuple[str, str] | None
"""Kind and place of the first observation; None for silence."""
SILENCES = (0.9, 0.95, 0.98)
"""Shares of untouched views on which model and probe are made silent, to be compared."""
_OPENING = '{"observations":['
_FIRST = re.compile(r'"kind":"([^"]+)","place":"([^"]+)"')
_NEVER = -1000.0
_LONGEST = 32
"""Tokens of one observation, and a few more."""
_DRAWS = 2000
_CELLS = 14
_BATCH = 6
_TOP = 10
_EPOCHS, _STEPS, _ROWS = 6, 300, 512
"""Of the probe's training: at least so many passes and steps, and the patches of one step."""
_SILENT = 0.95
Floats = npt.NDArray[np.float32]


def lab_views(data: Path, split: Split, count: int, seed: int, *, untouched: float = 0.4) -> list[Sample]:
    """Lab views of the kinds that the model names, a share `untouched` of them with nothing planted."""
    kinds: list[Planted] = list(KINDS)
    return list(samples(photographs(data, split), split, count, untouched=untouched, kinds=kinds, seed=seed))


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of a view where anything is said at all.

    Attributes:
        lean: How readily; something is said where it lies above a threshold.
        kind, place: Of the first observation.
    """

    lean: float
    kind: str
    place: str


def said(claims: Sequence[Claim], threshold: float = 0.0) -> list[Said]:
    """What is said of each view at a threshold."""
    return [(each.kind, each.place) if each.lean > threshold else None for each in claims]


def claims_of(model: Llava, views: Sequence[Sample], tell: Callable[[str], None] = print) -> list[Claim]:
    """What the model says of each view, asked as the service asks it.

    It decodes greedily, so that whether it says anything is settled where its list begins: by the logit of the best
    token that begins an observation, less that of the best that ends the list. A reserve on the latter
    (`agent.models.Card`) is a threshold for that difference. What it would say is what it writes where the list may
    not end; of an untouched view nothing can be right, and it is not asked for.
    """
    leans: list[float] = []
    for some in _batches(views):
        leans += _leans(model, [_asked(each) for each in some], [each.pixels for each in some])
        tell(f"{len(leans)} of {len(views)} leans")
    told: dict[int, tuple[str, str]] = {}
    ends = [token for token, text in model.load().vocabulary.spelt.items() if text.startswith(b"]")]
    planted = [each for each in views if each.planting is not None]
    for some in _batches(planted):
        written = model.write(
            [_asked(each) for each in some],
            form_of(Look),
            pictures=[each.pixels for each in some],
            bias=dict.fromkeys(ends, _NEVER),
            max_new_tokens=_LONGEST,
            timeout_s=600,
        )
        for view, each in zip(some, written, strict=True):
            first = _FIRST.search(each.text)
            told[id(view)] = (first[1], first[2]) if first is not None else ("", "")
        tell(f"{len(told)} of {len(planted)} claims")
    return [Claim(lean, *told.get(id(view), ("", ""))) for lean, view in zip(leans, views, strict=True)]


def _batches(views: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    for begin in range(0, len(views), _BATCH):
        yield views[begin : begin + _BATCH]


def _asked(view: Sample) -> Any:
    return look_messages("view:", "a native crop" if view.native else "the whole picture")


def kept_claims(model: Llava, views: Sequence[Sample], name: str, file: Path | None) -> list[Claim]:
    """`claims_of`, read from `file` where the same model was asked about the same views before, and kept there."""
    about = [name, [each.id for each in views]]
    if file is not None and file.is_file() and (kept := json.loads(file.read_text(encoding="utf-8")))["about"] == about:
        return [Claim(*each) for each in kept["claims"]]
    claims = claims_of(model, views)
    if file is not None:
        told = {"about": about, "claims": [(each.lean, each.kind, each.place) for each in claims]}
        file.write_text(json.dumps(told), encoding="utf-8")
    return claims


def threshold_of(model: Llava, reserve: Mapping[int, float]) -> float:
    """The lean from which the model with this reserve says something.

    Raises:
        ConfigurationError: where tokens that end the list have different reserves, which no one threshold stands for.
    """
    values = {reserve.get(token, 0.0) for token in closing(model)}
    if len(values) > 1:
        raise ConfigurationError(f"The reserve differs between tokens that end the list: {sorted(values)}.")
    return values.pop()


def _leans(model: Llava, asked: Sequence[Any], pictures: Sequence[Any]) -> list[float]:
    import torch

    loaded = model.load()
    begun = [
        loaded.processor.apply_chat_template(each, add_generation_prompt=True, tokenize=False) + _OPENING
        for each in asked
    ]
    inputs = loaded.processor(
        text=begun, images=list(pictures), return_tensors="pt", padding=True, add_special_tokens=False
    )
    with torch.inference_mode():
        logits = loaded.model(**inputs, logits_to_keep=1).logits[:, -1]
    begins, ends = _begin_and_end(model)
    return [float(row[begins].max() - row[ends].max()) for row in logits]


def closing(model: Llava) -> list[int]:
    """The tokens that end the list of what is seen, where it begins."""
    return _begin_and_end(model)[1]


def _begin_and_end(model: Llava) -> tuple[list[int], list[int]]:
    """Tokens with which an observation may begin, and those that end the list, where the list begins."""
    vocabulary, form = model.load().vocabulary, form_of(Look)
    state = form.start
    for byte in _OPENING.encode():
        state = int(form.table[state, byte])
    sides: tuple[list[int], list[int]] = ([], [])
    for token in np.flatnonzero(vocabulary.onward(form, state) >= 0):
        sides[vocabulary.spelling(int(token)).startswith(b"]")].append(int(token))
    return sides


class LinearProbe:
    """A softmax over each patch's token, and the threshold of silence.

    Args:
        tokens: views x patches x width of the training views.
        truths: What `finetune.data` wrote of each view.
        kinds: What it tells apart.
    """

    def __init__(
        self,
        tokens: npt.NDArray[np.float16],
        truths: Sequence[dict[str, Any]],
        seed: int = 0,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        import torch

        self._kinds = kinds

        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        rows, labels = [], []
        held = set(rng.permutation(len(truths))[: len(truths) // 5].tolist())
        for number, (view, truth) in enumerate(zip(tokens, truths, strict=True)):
            if truth["made"] or number in held:
                continue
            share = np.asarray(truth["share"])
            inside = np.flatnonzero(share > 0.5)
            outside = rng.permutation(np.flatnonzero(share <= 0.02))[:24]
            kind = 1 + kinds.index(truth["kind"]) if truth["kind"] else 0
            rows += [view[inside], view[outside]]
            labels += [kind] * len(inside) + [0] * len(outside)
        x, y = np.concatenate(rows).astype(np.float32), torch.tensor(labels)
        self._mean, self._spread = x.mean(axis=0), x.std(axis=0) + 1e-3
        x_ = torch.from_numpy((x - self._mean) / self._spread)
        layer = torch.nn.Linear(x.shape[1], 1 + len(kinds))
        optimizer = torch.optim.AdamW(layer.parameters(), lr=2e-3, weight_decay=0.05)
        for _ in range(max(_EPOCHS, _STEPS * _ROWS // len(x_))):
            for chosen in torch.randperm(len(x_)).split(_ROWS):
                loss = torch.nn.functional.cross_entropy(layer(x_[chosen]), y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._weight, self._bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        quiet = [tokens[number] for number in held if not truths[number]["kind"] and not truths[number]["made"]]
        self._threshold = float(np.quantile([self._scores(view)[1].max() for view in quiet], _SILENT))

    def _scores(self, view: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
        along = ((view.astype(np.float32) - self._mean) / self._spread) @ self._weight.T + self._bias
        chance = np.exp(along - along.max(axis=1, keepdims=True))
        chance = (chance / chance.sum(axis=1, keepdims=True))[:, 1:]
        return chance, np.sort(chance, axis=0)[-_TOP:].mean(axis=0)

    def claim(self, view: npt.NDArray[np.floating]) -> Claim:
        """What the probe says of a view, patches x width; it leans from its own threshold on."""
        chance, total = self._scores(view)
        kind = int(total.argmax())
        weight = chance[:, kind] * (chance[:, kind] >= chance[:, kind].max() / 2)
        index = np.arange(_CELLS**2)
        row, column = (float((weight * (each + 0.5)).sum() / weight.sum() / _CELLS) for each in divmod(index, _CELLS))
        return Claim(
            float(total.max()) - self._threshold, self._kinds[kind], PLACES[int(row * 3) * 3 + int(column * 3)]
        )


def marks(views: Sequence[Sample], said: Sequence[Said]) -> dict[str, Any]:
    """Shares of planted views right in kind and in place, and of untouched views that nothing was claimed of."""
    planted = [(each.planting, word) for each, word in zip(views, said, strict=True) if each.planting is not None]
    quiet = [word is None for each, word in zip(views, said, strict=True) if each.planting is None]
    by_kind: dict[str, list[bool]] = {}
    for truth, word in planted:
        by_kind.setdefault(truth.kind, []).append(word is not None and word[0] == truth.kind)
    return {
        "kind": _share([word is not None and word[0] == truth.kind for truth, word in planted]),
        "place": _share([word is not None and word[1] == truth.place for truth, word in planted]),
        "silent": _share(quiet),
        "by_kind": {kind: round(float(np.mean(each)), 3) for kind, each in sorted(by_kind.items())},
    }


def at_one_silence(
    views: Sequence[Sample], ours: Sequence[Claim], theirs: Sequence[Claim], silence: float, *, seed: int = 0
) -> dict[str, Any]:
    """Model and probe, each at the threshold that leaves it silent on `silence` of the untouched views.

    Returns:
        For kind, for place and for both at once: the share right of either, and the difference with its 90 % interval.
    """
    planted = np.array([each.planting is not None for each in views])
    systems = {}
    for name, claims in (("model", ours), ("probe", theirs)):
        kind, place = (
            np.array([
                view.planting is not None and getattr(view.planting, what) == getattr(claim, what)
                for view, claim in zip(views, claims, strict=True)
            ])
            for what in ("kind", "place")
        )  # fmt: skip
        lean = np.array([claim.lean for claim in claims])
        systems[name] = (lean, {"kind": kind, "place": place, "both": kind & place})

    def measure(rows: npt.NDArray[np.int64]) -> dict[str, float]:
        found: dict[str, float] = {}
        there, quiet = rows[planted[rows]], rows[~planted[rows]]
        for name, (lean, right) in systems.items():
            threshold = np.quantile(lean[quiet], silence, method="higher") if len(quiet) else np.nan
            for what, hit in right.items():
                told = hit[there] & (lean[there] > threshold)
                found[f"{name} {what}"] = float(told.mean()) if len(there) and len(quiet) else float("nan")
        return found | {what: found[f"model {what}"] - found[f"probe {what}"] for what in ("kind", "place", "both")}

    groups = [each.id.partition("#")[0] for each in views]
    found = metrics.resampled(measure, groups, seed=seed, draws=_DRAWS)
    return {
        name: {"value": round(each.value, 3), "low": round(each.low, 3), "high": round(each.high, 3)}
        for name, each in found.items()
    }


def constant(views: Sequence[Sample]) -> list[Said]:
    """The best constant answer: to claim the commonest kind at the commonest place."""
    planted = [each.planting for each in views if each.planting is not None]
    kinds, places = [each.kind for each in planted], [each.place for each in planted]
    best = (max(sorted(set(kinds)), key=kinds.count), max(sorted(set(places)), key=places.count))
    return [best] * len(views)


def _share(right: Sequence[bool]) -> dict[str, float | int]:
    """The share with its 90 % Wilson interval."""
    n, p, z = len(right), float(np.mean(right)) if right else 0.0, 1.645
    if n == 0:
        return {"share": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return {"share": round(p, 3), "low": round(float(low), 3), "high": round(float(high), 3), "n": n}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch
    from safetensors.numpy import load_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--built", type=Path, help="Folder that finetune.data wrote, for the linear probe.")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--vlm", type=Path, default=models.FOLDER, help="Folder that finetune.export wrote.")
    parser.add_argument("--keep", type=Path, help="File of what the model said, so that it is asked once.")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--base-count", type=int, default=60, help="Views that the bare model is asked about.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    folder, adapter = models.compose(args.cache, folder=args.vlm), models.adapter(args.vlm)
    views = lab_views(args.data, "test", args.count, args.seed)
    found: dict[str, Any] = {"constant": marks(views, constant(views))}
    if args.built:
        tokens = load_file(args.built / "tokens.safetensors")["tokens"]
        probe = LinearProbe(tokens, json.loads((args.built / "views.json").read_text()))
        theirs = [probe.claim(each) for each in TokenMaker(folder)([each.pixels for each in views])]
        found["linear probe"] = marks(views, said(theirs))
        print(json.dumps(found), flush=True)
    if adapter is not None:
        model, name = Llava(folder, adapter.folder), f"{adapter.name}@{adapter.revision}"
        ours = kept_claims(model, views, f"{folder.name} {name}", args.keep)
        found[f"model {name}"] = marks(views, said(ours, threshold_of(model, adapter.reserve)))
        if args.built:
            found["at one silence"] = {str(each): at_one_silence(views, ours, theirs, each) for each in SILENCES}
    if args.base_count:
        some = views[: args.base_count]
        found["base without adapter"] = marks(some, said(claims_of(Llava(folder), some)))
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
