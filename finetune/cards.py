"""Writes weights that were trained here: safetensors, their pin, and a card that says where they come from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from evals.datasets import Item
from tools import weights

FOLDER = Path(weights.__file__).parent
TERMS = (
    "Weights only: no picture is part of them. The pictures they were trained on have terms of their own, and several "
    "sources state none."
)


def data_hash(items: Iterable[Item]) -> str:
    """sha256 over the ids and bytes of `items`, in the order of their ids."""
    digest = hashlib.sha256()
    for item in sorted(set(items), key=lambda item: item.id):
        digest.update(item.id.encode() + b"\0" + hashlib.sha256(item.path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(items: Iterable[Item]) -> str:
    counts = Counter((item.source, item.label, item.licence or "not stated in the manifest") for item in set(items))
    lines = ["| source | label | pictures | licence |", "|---|---|---|---|"]
    lines += [f"| {source} | {label} | {n} | {licence} |" for (source, label, licence), n in sorted(counts.items())]
    return "\n".join(lines)


def write_weights(
    name: str, arrays: Mapping[str, npt.NDArray[np.generic]], *, recipe: str, about: str, items: Iterable[Item],
    figures: Mapping[str, object], precision: npt.DTypeLike = np.float16, folder: Path | None = None,
) -> str:  # fmt: skip
    """Writes `<name>.safetensors`, `<name>.md` and the pin; returns the sha256.

    Args:
        name: Of the weight.
        arrays: Kept with `precision`.
        recipe: The command that trains them again.
        about: What the weights are, in one sentence.
        items: Every picture that took part, for the data hash and the table of sources.
        figures: What was measured, by name.
        precision: Number type of the file.
        folder: Where the files go; the package's own folder by default.
    """
    folder = folder or FOLDER
    items = list(items)
    data = save({key: np.ascontiguousarray(value.astype(precision)) for key, value in arrays.items()})
    digest = hashlib.sha256(data).hexdigest()
    (folder / f"{name}.safetensors").write_bytes(data)
    measured = "\n".join(f"| {key} | {value} |" for key, value in figures.items())
    card = (
        f"# {name}\n\n{about}\n\n"
        f"- File: `{name}.safetensors`, {len(data)} bytes, sha256 `{digest}`\n- Recipe: `{recipe}`\n"
        f"- Data: {len(set(items))} pictures, sha256 over ids and bytes `{data_hash(items)}`\n"
        f"- Licence of the weights: Apache-2.0. {TERMS}\n\n"
        f"## Figures\n\n| | |\n|---|---|\n{measured}\n\n## Data\n\n{_sources(items)}\n"
    )
    (folder / f"{name}.md").write_text(card, encoding="utf-8")
    pins = folder / weights.PINS
    table = json.loads(pins.read_text(encoding="utf-8")) if pins.exists() else {}
    table[name] = {
        "file": f"{name}.safetensors", "sha256": digest, "size": len(data), "licence": "Apache-2.0",
        "source": f"trained for Exposit: {recipe}", "terms": TERMS,
    }  # fmt: skip
    pins.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return digest
