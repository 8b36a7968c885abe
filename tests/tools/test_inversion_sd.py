from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import encoded, picture
from tools import borrowed, weights
from tools.borrowed import Borrowed, use_inversion_model
from tools.contract import Budget, Evidence
from tools.detectors.inversion_sd import head_name, inversion_sd
from tools.errors import ConfigurationError
from tools.image import SourceImage
from tools.latent import NAMES, STEPS, Model, distance, invert, load, read, tensor


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    yield
    use_inversion_model(None)


def write_tiny(folder: Path, *, tiny_autoencoder: bool = False) -> Path:
    """A Stable Diffusion pipeline of random weights, as its parts lie in a folder from the hub."""
    diffusers = pytest.importorskip("diffusers", reason="the extra [inversion] (diffusers) is not installed")
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    if tiny_autoencoder:
        vae = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1),
        )  # fmt: skip
        vae.save_pretrained(folder)
        return folder
    diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    diffusers.UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, cross_attention_dim=12,
        attention_head_dim=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).save_pretrained(folder / "unet")  # fmt: skip
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "c", "a", "t</w>", "cat</w>", "ca"]
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=12, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=16, bos_token_id=0, eos_token_id=1,
        )
    ).save_pretrained(folder / "text_encoder")  # fmt: skip
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    (tokenizer / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 16})
    )
    diffusers.PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, set_alpha_to_one=False, steps_offset=1
    ).save_pretrained(folder / "scheduler")  # the one that Stable Diffusion 1.5 ships
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny-sd")


def loaded(folder: Path) -> Model:
    return load(Borrowed(folder.name, folder))


def examined(image: Image.Image, level: str = "standard") -> Evidence:
    source = SourceImage.open(encoded(image, "PNG"), "x.png")
    return inversion_sd.examine(source, Budget.model_validate({"level": level}))


def test_without_a_model_it_is_left_out_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_inversion_model(None)
    reason = inversion_sd.missing()
    assert reason is not None
    assert "No Stable Diffusion model is configured" in reason
    assert "EXPOSIT_INVERSION_MODEL" in reason
    assert examined(picture()).abstained_because == reason

    monkeypatch.setattr(borrowed, "find_spec", lambda name: None)
    use_inversion_model(str(tmp_path))
    assert "exposit[inversion]" in str(inversion_sd.missing())
    monkeypatch.setattr(borrowed, "find_spec", lambda name: object())
    assert inversion_sd.missing() is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    use_inversion_model("nobody/no-such-model")
    assert "hf download nobody/no-such-model" in str(inversion_sd.missing())
    use_inversion_model(str(tmp_path / "no" / "such" / "folder"))
    assert "does not exist" in str(inversion_sd.missing())
    assert str(tmp_path) not in str(inversion_sd.missing())


def test_the_whole_path_gives_distances_features_and_no_score(tiny: Path) -> None:
    use_inversion_model(str(tiny))
    assert inversion_sd.missing() is None
    first, second = examined(picture(200, 150)), examined(picture(200, 150))
    assert first.model_copy(update={"ms": 0.0}) == second.model_copy(update={"ms": 0.0})
    assert first.score is None
    assert "no head is trained for this model yet" in str(first.abstained_because)
    assert set(NAMES) <= set(first.measurements)
    assert first.measurements["tile_side_px"] == 128
    assert first.measurements["tiny-sd/model_sha256"] == loaded(tiny).sha256
    assert set(first.weights) == {"tiny-sd/vae", "tiny-sd/unet", "tiny-sd/text_encoder"}
    assert any("empty prompt" in limit for limit in first.limits)
    (finding,) = first.findings
    assert finding.polarity == "neutral"
    said = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", finding.text)}
    assert said == {float(value) for value in finding.numbers.values()}
    assert [each.name for each in first.maps] == ["inversion_sd_error"]


def test_a_head_for_this_very_model_gives_a_score(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = head_name(loaded(tiny).sha256)
    pin = weights.weight("inversion").model_copy(update={"name": name})
    zeros, ones = np.zeros(len(NAMES), np.float32), np.ones(len(NAMES), np.float32)
    arrays = {"mean": zeros, "scale": ones, "weight": zeros, "levels": np.array([1.5, -1.0, 1.0], np.float32)}
    monkeypatch.setattr(weights, "registry", lambda: {name: pin})
    monkeypatch.setattr(weights, "load", lambda asked: {name: arrays}[asked])
    use_inversion_model(str(tiny))
    evidence = examined(picture(128, 128))
    assert evidence.score == pytest.approx(1 / (1 + np.exp(-1.5)), abs=1e-5)
    assert evidence.findings[0].polarity == "generated"
    assert evidence.weights[name] == pin.sha256


def test_inversion_without_predicted_noise_only_rescales_and_comes_back(tiny: Path) -> None:
    model = loaded(tiny)
    assert model.denoiser is not None
    assert len(model.denoiser.up.timesteps) == len(model.denoiser.down.timesteps) == STEPS
    rgb = tensor(np.asarray(picture(128, 64)))
    unet = model.denoiser.unet
    kept = {name: value.clone() for name, value in unet.conv_out.state_dict().items()}
    with torch.inference_mode():
        start = model.encode(rgb)
        plain, back = invert(model, rgb)
        assert not torch.allclose(back, start, atol=1e-3)  # a random denoiser does not return what it was given
        caption, _ = invert(model, rgb, "a cat")
        assert not torch.allclose(caption, plain, atol=1e-6)  # the caption reaches it
        try:
            for value in unet.conv_out.state_dict().values():
                value.zero_()
            noise, back = invert(model, rgb)
        finally:
            unet.conv_out.load_state_dict(kept)
    alphas = model.denoiser.up.alphas_cumprod
    scale = (alphas[int(model.denoiser.up.timesteps[-1])] / alphas[0]).sqrt()
    assert torch.allclose(noise, start * scale, atol=1e-5)
    assert torch.allclose(back, start, atol=1e-4)
    with pytest.raises(ValueError, match="multiples of 64"):
        invert(model, rgb[..., :60])


def test_the_nine_channels_are_the_picture_the_noise_and_what_came_back(tiny: Path) -> None:
    model, rgb = loaded(tiny), np.asarray(picture(64, 128))
    reading = read([model], rgb)
    assert reading.pictures is not None
    assert reading.features is not None
    assert reading.pictures.shape == (9, 128, 64)
    assert np.allclose(reading.pictures[:3], tensor(rgb)[0].numpy())
    with torch.inference_mode():
        noise, back = invert(model, tensor(rgb))
        assert np.allclose(reading.pictures[3:6], model.decode(noise)[0].numpy(), atol=1e-5)
        assert np.allclose(reading.pictures[6:], model.decode(back)[0].numpy(), atol=1e-5)
    assert reading.features.shape == (len(NAMES),)
    assert np.isfinite(reading.features).all()
    assert len(set(NAMES)) == len(NAMES)


def test_the_nearest_of_several_autoencoders_is_told(tiny: Path, tmp_path: Path) -> None:
    small = write_tiny(tmp_path / "tiny-ae", tiny_autoencoder=True)
    use_inversion_model(f"{small}, {tiny}")
    told = examined(picture(200, 150)).measurements
    each = [float(told[f"{name}/grey_levels"]) for name in ("tiny-ae", "tiny-sd")]
    assert each[0] != each[1]
    assert told["nearest_grey_levels"] == min(each)

    use_inversion_model(str(small))
    alone = examined(picture(200, 150))
    assert "an autoencoder alone" in str(alone.abstained_because)
    assert any("not inverted" in limit for limit in alone.limits)
    assert set(alone.weights) == {"tiny-ae/tiny-ae"}
    assert not set(NAMES) & set(alone.measurements)


def test_distance_is_nought_for_a_perfect_passage_and_grows_with_what_is_lost() -> None:
    x = tensor(np.asarray(picture(128, 128)))
    same = distance(x, x)
    assert (same.grey_levels, round(same.dissimilarity, 6)) == (0.0, 0.0)
    assert distance(x, x + 2 / 127.5).grey_levels == pytest.approx(2, abs=1e-3)
    blurred = torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2)
    shifted = distance(x, x + 2 / 127.5)
    assert distance(x, blurred).dissimilarity > 10 * shifted.dissimilarity
    assert distance(x, -x).dissimilarity > 3 * distance(x, blurred).dissimilarity


def test_pickles_and_other_kinds_of_model_are_refused(tiny: Path, tmp_path: Path) -> None:
    import shutil

    pickled = shutil.copytree(tiny, tmp_path / "pickled")
    file = pickled / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(ConfigurationError, match="safetensors"):
        loaded(pickled)
    use_inversion_model(str(pickled))
    assert "pickled weights" in str(examined(picture()).abstained_because)

    other = shutil.copytree(tiny, tmp_path / "other")
    _change(other / "unet" / "config.json", addition_embed_type="text_time")
    assert "conditioned otherwise" in loaded(other).because
    _change(other / "vae" / "config.json", _class_name="SomethingElse")
    use_inversion_model(str(other))
    load.cache_clear()
    assert "SomethingElse" in str(examined(picture()).abstained_because)

    lacking = shutil.copytree(tiny, tmp_path / "lacking")
    shutil.rmtree(lacking / "tokenizer")
    use_inversion_model(str(lacking))
    assert "missing or cannot be read" in str(examined(picture()).abstained_because)


def _change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("image", "because"),
    [(picture(300, 127), "300x127"), (Image.new("RGB", (300, 300), (90, 120, 200)), "nearly flat")],
)
def test_abstains_on_what_it_cannot_judge(tiny: Path, image: Image.Image, because: str) -> None:
    use_inversion_model(str(tiny))
    assert because in str(examined(image).abstained_because)
