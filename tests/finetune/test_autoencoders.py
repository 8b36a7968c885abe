"""The zoo decodes what it encodes, and learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.autoencoders import ZOO, Autoencoder, Decoder, held_out, train
from finetune.taef2 import psnr
from tests.conftest import picture
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


def test_training_learns_and_is_read_back(tmp_path: Path) -> None:
    photographs = [np.asarray(picture(256, 256, seed)) for seed in range(4)]
    untrained = Autoencoder(ZOO["transposed"])
    untrained.start(photographs)
    trained = train(ZOO["transposed"], photographs, seconds=3, seed=0)
    shown = torch.from_numpy(photographs[0][:64, :64].astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]

    def error(network: Autoencoder) -> float:
        with torch.inference_mode():
            return float((network.decoded(network.latents(shown)) - shown).abs().mean())

    assert error(trained) < 0.95 * error(untrained)
    torch.save(trained.state_dict(), tmp_path / "transposed.pt")
    decoder = Decoder(tmp_path / "transposed.pt")
    assert decoder.passage(photographs[0]).shape == photographs[0].shape
    assert held_out(decoder, photographs) == pytest.approx(
        psnr((rgb, decoder.passage(rgb)) for rgb in photographs), abs=1e-6
    )
    with pytest.raises(ConfigurationError, match="missing"):
        Decoder(tmp_path / "deep.pt")
