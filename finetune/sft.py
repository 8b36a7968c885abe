"""Trains a LoRA adapter on rows of (request, reply), with the loss on the reply alone.

    python -m finetune.sft --base FOLDER --rows ROWS.jsonl [--tokens TOKENS.safetensors] --out RUN --minutes 40
    python -m finetune.sft --base Qwen/Qwen2-VL-2B-Instruct --rows ROWS.jsonl --out RUN --minutes 40
    python -m finetune.sft --base FOLDER --rows ROWS.jsonl --tokens TOKENS.safetensors --projector PROJECTOR.safetensors
        --projector-rate 1e-4 --looks 0.42 --steps 640 --minutes 600 --held 12 --threads 2 --out RUN

`--base` is any vision-language model that transformers loads by `AutoModelForImageTextToText`: the model that
`agent.models.compose` wrote, or one of a hub by name. A row's picture is a file, read by the model's own processor; for
the composed model the projector's inputs may be cached instead (`finetune.data`), which saves the image tower's time.

One sequence at a time, without padding, gradients gathered over `--gather` of them: on a CPU a batch saves nothing.
The base is held in bfloat16, the adapter in float32. The run folder holds the adapter as peft writes it, the recipe,
the curve, and the optimizer's state; a run that was cut short goes on from there with `--resume`. Where `--steps` ends
a run and not `--minutes`, the same command gives the same rows in the same order.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetune.export import RECIPE_FILE, Recipe, check

TARGETS = r".*\.(?:language_model|text_model)\.layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)"
"""Attention and MLP of the language model. A list of suffixes would hit the image tower too."""
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Row:
    """One example.

    Attributes:
        task: `look`, `explain` or `answer`.
        messages: The request, as `agent.prompt` renders it.
        reply: What the model is to write.
        view: Number of the view in the token cache; None without a picture.
        picture: File of the picture, where no cache is used.
    """

    task: str
    messages: list[dict[str, Any]]
    reply: str
    view: int | None = None
    picture: str | None = None


def _in_parts(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose contents are lists of parts: templates of hub models pass over a content that is a string.

    So do they over a picture under any name but `image`.
    """
    out = []
    for message in messages:
        said = message["content"]
        parts = [{"type": "text", "text": said}] if isinstance(said, str) else said
        out.append(
            message | {"content": [{"type": "image"} if each["type"] == "image_url" else each for each in parts]}
        )
    return out


def read_rows(file: Path) -> list[Row]:
    """The rows of a JSON Lines file."""
    return [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Writes rows as JSON Lines."""
    lines = [
        json.dumps({name: getattr(row, name) for name in ("task", "messages", "reply", "view", "picture")})
        for row in rows
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


class Student:
    """A vision-language model with an adapter, and how rows become its inputs.

    Args:
        base: Folder or hub name.
        recipe: Of the adapter; refused where vLLM could not serve it (`finetune.export.check`).
        tokens: Cached inputs of the projector, views x tokens x width; None to read pictures.
        adapter: An adapter to go on from.
    """

    def __init__(
        self, base: str, recipe: Recipe, *, tokens: Any = None, adapter: Path | None = None, trainable: bool = True
    ) -> None:
        import torch
        from peft import LoraConfig, PeftModel, get_peft_model
        from transformers import AutoModelForImageTextToText, AutoProcessor

        check(recipe)
        self.processor = AutoProcessor.from_pretrained(base)
        model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.bfloat16)
        model.config.use_cache = False
        if adapter is not None:
            self.model = PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
        else:
            config = LoraConfig(
                r=recipe.rank, lora_alpha=recipe.alpha, target_modules=recipe.targets, lora_dropout=0.0, bias="none",
                task_type="CAUSAL_LM",
            )  # fmt: skip
            self.model = get_peft_model(model, config)
        self.tokens = tokens
        self._inner = self.model.get_base_model()

    def inputs(self, row: Row) -> tuple[dict[str, Any], Any]:
        """What the model takes for one row, and labels that are set on the reply alone (and the token that ends it)."""
        import torch
        from PIL import Image

        tokenizer = self.processor.tokenizer
        head = str(
            self.processor.apply_chat_template(_in_parts(row.messages), tokenize=False, add_generation_prompt=True)
        )
        end = tokenizer.decode([tokenizer.eos_token_id])
        pictures: dict[str, Any] = {}
        if row.picture is not None:
            with Image.open(row.picture) as file:
                pictures["images"] = [file.convert("RGB")]
        if row.view is not None:  # the processor would repeat it once a token of the picture
            mark = str(self.processor.image_token)
            head = head.replace(mark, mark * int(self.tokens.shape[1]), 1)
            begun = tokenizer(head, return_tensors="pt", add_special_tokens=False)
        else:
            begun = self.processor(text=[head], return_tensors="pt", add_special_tokens=False, **pictures)
        said = tokenizer(row.reply + end, return_tensors="pt", add_special_tokens=False)["input_ids"]
        ids = torch.cat([begun["input_ids"], said], dim=1)
        labels = torch.full_like(ids, _IGNORED)
        labels[:, begun["input_ids"].shape[1] :] = said
        inputs = {name: value for name, value in begun.items() if name not in ("input_ids", "attention_mask")}
        for name, value in inputs.items():
            if value.is_floating_point():
                inputs[name] = value.to(torch.bfloat16)
            elif value.shape[:2] == begun["input_ids"].shape:  # token types and the like: the reply is text
                inputs[name] = torch.nn.functional.pad(value, (0, said.shape[1]))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **inputs}, labels

    def embedded(self, inputs: dict[str, Any], row: Row) -> dict[str, Any]:
        """`inputs` with the cached view in the place of its image tokens."""
        import torch

        if row.view is None:
            return inputs
        ids = inputs.pop("input_ids")
        words = self._inner.get_input_embeddings()(ids)
        seen = torch.as_tensor(np.asarray(self.tokens[row.view]))
        seen = self.projector(seen.to(next(self.projector.parameters()).dtype))
        where = (ids == self._inner.config.image_token_index)[..., None]
        inputs["inputs_embeds"] = words.masked_scatter(where, seen.to(words.dtype))
        return inputs

    @property
    def projector(self) -> Any:
        """The projector of a model of the LLaVA architecture."""
        return self._inner.model.multi_modal_projector

    def begin_projector(self, file: Path) -> None:
        """Takes the projector that `finetune.align` trained, and holds it in float32."""
        from safetensors.torch import load_file

        self.projector.float().load_state_dict(load_file(file))

    def loss(self, row: Row) -> tuple[Any, int]:
        """Mean cross-entropy of the reply's tokens, and how many there are."""
        import torch

        inputs, labels = self.inputs(row)
        hidden = self._inner.model(**self.embedded(inputs, row)).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        kept = wanted != _IGNORED
        logits = self._inner.get_output_embeddings()(hidden[kept])
        return torch.nn.functional.cross_entropy(logits.float(), wanted[kept]), int(kept.sum())


def _order(rows: Sequence[Row], seed: int, looks: float | None = None) -> Iterator[Row]:
    """Rows without end, each pass shuffled anew; with `looks` that share of them are looks, in passes of their own."""
    rng = np.random.default_rng(seed)

    def passes(some: Sequence[Row]) -> Iterator[Row]:
        while some:
            for index in rng.permutation(len(some)):
                yield some[int(index)]

    if looks is None:
        yield from passes(rows)
    else:
        seen = passes([row for row in rows if row.task == "look"])
        told = passes([row for row in rows if row.task != "look"])
        while True:
            yield next(seen if rng.random() < looks else told)


def train(
    student: Student, rows: Sequence[Row], out: Path, *, minutes: float, rate: float, gather: int, steps: int,
    seed: int, held: Sequence[Row] = (), resume: bool = False, projector_rate: float = 0.0,
    looks: float | None = None,
) -> list[dict[str, float]]:  # fmt: skip
    """Trains for `steps` steps or `minutes` of wall time, whichever ends first; the curve.

    The rate falls along a cosine of the share of steps or minutes that is gone, after a short rise. With
    `projector_rate` the projector of a composed model is trained along.
    """
    import torch

    out.mkdir(parents=True, exist_ok=True)
    parts = [{"params": [p for p in student.model.parameters() if p.requires_grad], "lr": rate, "top": rate}]
    if projector_rate:
        projector = student.projector.float().requires_grad_()
        parts.append({"params": list(projector.parameters()), "lr": projector_rate, "top": projector_rate})
    optimizer = torch.optim.AdamW(parts, weight_decay=0.0, betas=(0.9, 0.98))
    begun, curve, used = 0, [], 0.0
    state = out / "state.pt"
    if resume and state.is_file():
        kept = torch.load(state, weights_only=True)
        optimizer.load_state_dict(kept["optimizer"])
        begun, curve, used = kept["step"], kept["curve"], kept["seconds"]
    order = _order(rows, seed + begun, looks)
    clock = time.monotonic() - used
    student.model.train()
    for step in range(begun, steps):
        share = max(step / steps, (time.monotonic() - clock) / (60 * minutes))
        if share >= 1:
            break
        warm = min(1.0, (step + 1) / 8)
        for group in optimizer.param_groups:
            group["lr"] = group["top"] * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        total = 0.0
        by_task: dict[str, list[float]] = {}
        for _ in range(gather):
            row = next(order)
            loss, _count = student.loss(row)
            (loss / gather).backward()
            total += float(loss.detach()) / gather
            by_task.setdefault(row.task, []).append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.monotonic() - clock
        point = {"step": step + 1, "seconds": round(seconds, 1), "loss": round(total, 4)}
        point |= {f"loss_{task}": round(float(np.mean(each)), 4) for task, each in by_task.items()}
        if held and (step + 1) % 25 == 0:
            with torch.inference_mode():
                point["held_loss"] = round(float(np.mean([float(student.loss(row)[0]) for row in held])), 4)
        curve.append(point)
        print(json.dumps(point), flush=True)
        if (step + 1) % 10 == 0:
            save(student, out, curve, projector=bool(projector_rate))
            torch.save(
                {"optimizer": optimizer.state_dict(), "step": step + 1, "curve": curve, "seconds": seconds}, state
            )
    save(student, out, curve, projector=bool(projector_rate))
    return curve


def save(student: Student, out: Path, curve: list[dict[str, float]], *, projector: bool = False) -> None:
    """Writes the adapter, the curve, and the projector where it was trained."""
    from safetensors.torch import save_file

    student.model.save_pretrained(out / "adapter")
    (out / "curve.json").write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    if projector:
        parts = student.projector.state_dict()
        save_file({name: value.contiguous() for name, value in parts.items()}, out / "projector.safetensors")


def _told(args: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """What the run was made with, without the paths of this machine, for `finetune.export` to put on the card."""
    names = ("tasks", "looks", "steps", "minutes", "rate", "projector_rate", "gather", "held", "seed", "threads")
    told = {name: getattr(args, name) for name in names}
    return recipe.model_dump(exclude={"extra"}) | told | {"from_adapter": args.from_adapter is not None}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    import torch
    from safetensors.numpy import load_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--tokens", type=Path)
    parser.add_argument("--tasks", default="look,explain,answer")
    parser.add_argument("--looks", type=float, help="Share of looks among the rows; left as it is where not given.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from-adapter", type=Path)
    parser.add_argument("--projector", type=Path, help="Weights to begin the projector with.")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--projector-rate", type=float, default=0.0)
    parser.add_argument("--gather", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--held", type=int, default=0, help="Rows at the end that are held out.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    recipe = Recipe(rank=args.rank, alpha=2 * args.rank, targets=TARGETS)
    rows = [row for row in read_rows(args.rows) if row.task in args.tasks.split(",")]
    held = rows[len(rows) - args.held :] if args.held else []
    tokens = load_file(args.tokens)["tokens"] if args.tokens else None
    adapter = args.out / "adapter" if args.resume else args.from_adapter
    student = Student(args.base, recipe, tokens=tokens, adapter=adapter)
    trained = args.out / "projector.safetensors"
    projector = trained if args.resume and trained.is_file() else args.projector
    if projector:
        student.begin_projector(projector)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / RECIPE_FILE).write_text(json.dumps(_told(args, recipe), indent=1) + "\n", encoding="utf-8")
    train(
        student, rows[: len(rows) - len(held)], args.out, minutes=args.minutes, rate=args.rate, gather=args.gather,
        steps=args.steps, seed=args.seed, held=held, resume=args.resume, projector_rate=args.projector_rate,
        looks=args.looks,
    )  # fmt: skip


if __name__ == "__main__":
    main()
