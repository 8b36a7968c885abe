"""The zoo decodes what it encodes, and no head scores a passage through a decoder that it has met."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evals.datasets import Item
from evals.perturb import Pixels
from finetune import examples, lodo
from finetune.autoencoders import LEAST_DB, ZOO, Autoencoder, Decoder, served, train
from finetune.examples import SHRUNK_FROM, SMALL, Example, smaller
from finetune.twins import VARIED, varied_twins
from tests.conftest import picture
from tools.clip import LEAST, SIDE
from tools.errors import ConfigurationError


@pytest.mark.parametrize("name", ZOO)
def test_latents_have_the_stride_and_pictures_their_size(name: str) -> None:
    design = ZOO[name]
    network = Autoencoder(design)
    pictures = torch.zeros(2, 3, 64, 32)
    latents = network.latents(pictures)
    assert latents.shape == (2, design.channels, 64 // design.stride, 32 // design.stride)
    assert network.decoded(latents).shape == pictures.shape


def test_a_quantised_bottleneck_forgets_what_lies_under_a_step() -> None:
    network = Autoencoder(ZOO["shuffle"]).eval()
    latents = torch.full((1, ZOO["shuffle"].channels, 4, 4), 0.02)
    with torch.inference_mode():
        near, far = network.decoded(latents + 0.01), network.decoded(latents + 1.0)
        assert torch.equal(network.decoded(latents), near)
        assert not torch.equal(near, far)


def test_training_learns_and_only_good_ones_serve(tmp_path: Path) -> None:
    photographs = [np.asarray(picture(256, 256, seed)) for seed in range(4)]
    untrained = Autoencoder(ZOO["transposed"])
    untrained.start(photographs)
    trained = train(ZOO["transposed"], photographs, seconds=3, seed=0)
    shown = torch.from_numpy(photographs[0][:64, :64].astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]

    def error(network: Autoencoder) -> float:
        with torch.inference_mode():
            return float((network.decoded(network.latents(shown)) - shown).abs().mean())

    assert error(trained) < 0.95 * error(untrained)
    for name, reached in (("transposed", LEAST_DB), ("nearest", LEAST_DB - 0.01)):
        network = trained if name == "transposed" else Autoencoder(ZOO[name])
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
        (tmp_path / f"{name}.json").write_text(json.dumps({"psnr_unseen": reached}))
    found = served(tmp_path)
    assert list(found) == ["transposed"]
    assert found["transposed"].passage(photographs[0]).shape == photographs[0].shape
    with pytest.raises(ConfigurationError, match="autoencoders"):
        served(tmp_path / "empty")
    with pytest.raises(ConfigurationError, match="missing"):
        Decoder(tmp_path / "deep.pt")


class Darker:
    """Stands where a decoder stands: takes `step` grey levels off."""

    def __init__(self, step: int) -> None:
        self.step = step

    def latents(self, rgb: Pixels) -> torch.Tensor:
        return torch.from_numpy(rgb.astype(np.float32))[None]

    def decoded(self, latents: torch.Tensor) -> Pixels:
        return np.clip(latents[0].numpy() - self.step, 0, 255).astype(np.uint8)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Item]:
    sources = ("EliSchwartz/imagenet-sample-images", "BIDS/BSDS500", "other")
    items = []
    for number, source in enumerate(sources):
        file = tmp_path / f"{number}.png"
        picture(300, 280, number).save(file)
        items.append(Item(id=f"train/{number}.png", path=file, split="train", label="real", source=source))
    return items


def test_twins_of_one_crop_share_their_photograph(photographs: list[Item], tmp_path: Path) -> None:
    made = varied_twins(photographs, {"a": Darker(9), "b": Darker(30)}, tmp_path / "work")
    assert len(made) == len(photographs) * 2 * VARIED
    for one, other in ((t, u) for t in made for u in made if (t.item, t.number) == (u.item, u.number)):
        assert (one.photograph == other.photograph).all()
        assert one.decoder == other.decoder or (one.passage != other.passage).any()
    assert made[0].item == varied_twins(photographs, {"a": Darker(9)}, tmp_path / "work")[0].item
    shown = list(examples.varied(made))
    assert len(shown) == len(photographs) * VARIED * 3  # one photograph, two passages
    for e in shown:
        small = e.short_side < SIDE
        assert small == (e.draw == VARIED - 1)
        assert e.short_side in SMALL if small else e.short_side == SIDE
        assert examples.pixels_of(e).shape[:2] == (e.short_side, e.short_side)


def test_small_views_are_looked_at_whole() -> None:
    rgb = np.asarray(picture(SHRUNK_FROM, SHRUNK_FROM + 40))
    seen = {smaller(rgb, seed)[1:] for seed in range(40)}
    assert {side for side, _ in seen} <= set(range(LEAST, SIDE))
    assert 100 in {quality for _, quality in seen}
    assert smaller(rgb, 3) == smaller(rgb, 3)


def test_no_head_scores_a_decoder_or_a_source_that_it_knew(photographs: list[Item], tmp_path: Path) -> None:
    pairs = varied_twins(photographs, {"a": Darker(9), "b": Darker(30)}, tmp_path / "work")
    rows: list[Example] = [*examples.varied(pairs), *examples.matched(photographs, 1)]
    met: list[tuple[np.ndarray, np.ndarray]] = []

    def fits(chosen: np.ndarray) -> object:
        def scores(places: np.ndarray) -> np.ndarray:
            met.append((chosen, places))
            return np.ones(len(places))

        return scores

    found = lodo.left_out(rows, fits)  # type: ignore[arg-type]
    assert sorted(found) == ["a", "b"] == list(lodo.decoders(rows))
    for chosen, places in met:
        assert {rows[i].item.source for i in places}.isdisjoint(rows[i].item.source for i in chosen)
        scored = {rows[i].generator for i in places} - {""}
        assert len(scored) == 1
        assert scored.isdisjoint(rows[i].generator for i in chosen)
    for decoder, logits in found.items():
        finite = [e for e, value in zip(rows, logits, strict=True) if np.isfinite(value)]
        assert {e.generator for e in finite} == {"", decoder}
        assert {e.kind for e in finite} == {"aligned"}
        assert len(finite) == 2 * VARIED * len(photographs)
