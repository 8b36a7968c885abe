"""Unsigned metadata and generators' recipes, written by the test as each program writes them."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.conftest import encoded, picture
from tools.contract import Budget, Evidence
from tools.detectors.provenance import provenance
from tools.image import SourceImage
from tools.provenance.containers import MAX_BLOCK, Metadata, read_metadata
from tools.provenance.fields import read_iptc, read_xmp, user_comment
from tools.provenance.said import Said
from tools.provenance.unsigned import say_unsigned
from tools.provenance.vocabulary import QUOTE, credit_says, generator_in

A1111 = (
    "a lighthouse, 8k, (storm:1.3)\nNegative prompt: blurry, lowres\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 6ce0161689, "
    'Model: v1-5-pruned, Lora hashes: "a: b, c: d", Version: v1.6.0'
)


def png(image: Image.Image | None = None, compressed: bool = False, **texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name.replace("__", "-"), text, zip=compressed)
    return encoded(image or picture(64, 48), "PNG", pnginfo=info)


def jpeg(exif: dict[int, Any] | None = None, sub: dict[int, Any] | None = None, **options: Any) -> bytes:
    block = Image.Exif()
    block.update(exif or {})
    if sub:
        block.get_ifd(0x8769).update(sub)
    return encoded(picture(64, 48), "JPEG", exif=block.tobytes(), **options)


def examine(data: bytes) -> Evidence:
    return provenance.examine(SourceImage.open(data, "test"), Budget())


def xmp(attributes: str = "", inside: str = "") -> str:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f"{attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


INVOKE = {"positive_prompt": "a fjord", "negative_prompt": "fog", "model": {"name": "dreamshaper"}, "seed": 77}
INVOKE_OLD = {
    "model_weights": "stable-diffusion-1.5",
    "image": {"prompt": [{"prompt": "a fjord", "weight": 1}], "seed": 77, "sampler": "k_lms", "type": "img2img"},
}
NOVEL = {"prompt": "a fjord", "uc": "fog", "seed": 77, "sampler": "k_euler", "request_type": "PromptGenerateRequest"}
FOOOCUS = {
    "prompt": "a fjord",
    "negative_prompt": "fog",
    "base_model": "juggernaut",
    "seed": "77",
    "version": "Fooocus v2.5",
}
SWARM = {"sui_image_params": {"prompt": "a fjord", "negativeprompt": "fog", "model": "sdxl", "seed": 77}}
MIDJOURNEY = "a fjord --ar 3:2 --v 6.1 Job ID: 0bd1a3fe-6c1b-4e4a-9b57-2f5b7f6f3c1d"


@pytest.mark.parametrize(
    ("texts", "program", "says", "seed"),
    [
        ({"parameters": A1111}, "AUTOMATIC1111 or a fork of it", "generated", "965400086"),
        ({"parameters": A1111 + ", Denoising strength: 0.4"}, "AUTOMATIC1111 or a fork of it", "edited", "965400086"),
        ({"parameters": A1111 + ", Denoising strength: 0.4, Mask blur: 4"}, "AUTOMATIC1111", "composite", "965400086"),
        ({"parameters": A1111 + ", Denoising strength: 0.4, Hires upscale: 2"}, "AUTOMATIC1111", "generated", "96540"),
        ({"invokeai_metadata": json.dumps(INVOKE)}, "InvokeAI", "generated", "77"),
        (
            {"invokeai_metadata": json.dumps(INVOKE | {"generation_mode": "sdxl_inpaint"})},
            "InvokeAI",
            "composite",
            "77",
        ),
        ({"sd__metadata": json.dumps(INVOKE_OLD)}, "InvokeAI", "edited", "77"),
        ({"Dream": '"a fjord" -s 50 -S 77 -W 512 -H 512'}, "InvokeAI", "generated", "77"),
        ({"Software": "NovelAI", "Comment": json.dumps(NOVEL)}, "NovelAI", "generated", "77"),
        (
            {"Software": "NovelAI", "Comment": json.dumps(NOVEL | {"request_type": "Img2ImgRequest"})},
            "NovelAI",
            "edited",
            "77",
        ),
        ({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}, "Fooocus", "generated", "77"),
        ({"parameters": json.dumps(SWARM)}, "SwarmUI", "generated", "77"),
        ({"Description": MIDJOURNEY}, "Midjourney", "generated", ""),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_recipes_in_png_texts(texts: dict[str, str], program: str, says: str, seed: str, compressed: bool) -> None:
    evidence = examine(png(compressed=compressed, **texts))
    claim = evidence.claims[0]
    assert claim.generator is not None
    assert claim.generator.startswith(program)
    assert (claim.says, claim.rank) == (says, "unsigned")
    assert evidence.score == (1.0 if says == "generated" else 0.5)
    assert claim.prompt in ("a fjord", "a lighthouse, 8k, (storm:1.3)")
    assert f"“{claim.prompt}”" in evidence.findings[0].text
    assert seed in str(evidence.findings[0].numbers.get("seed", ""))
    assert evidence.findings[0].severity == "strong"


def test_parameters_are_taken_apart() -> None:
    finding = examine(png(parameters=A1111)).findings[0]
    assert finding.numbers["model"] == "v1-5-pruned"
    assert finding.numbers["sampler"] == "Euler a"
    assert finding.numbers["negative_prompt"] == "blurry, lowres"


def test_a_long_prompt_is_cut_and_says_so() -> None:
    evidence = examine(png(parameters="word " * 400 + A1111))
    finding = evidence.findings[0]
    assert f"(the first {QUOTE} of {finding.numbers['characters']} characters)" in finding.text
    assert len(str(finding.numbers["prompt"])) <= QUOTE
    assert len(evidence.claims[0].prompt or "") <= 2000


def graph(latent: str, denoise: float = 0.6, **more: Any) -> dict[str, Any]:
    """An API-format graph: guided by a control net with a picture, sampled from the node `latent`."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.ckpt"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["9", 0], "clip": ["1", 1]}},
        "9": {"class_type": "PrimitiveString", "inputs": {"value": "a fjord"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["1", 1]}},
        "4": {
            "class_type": "ControlNetApplyAdvanced",
            "inputs": {"positive": ["2", 0], "negative": ["3", 0], "image": ["6", 0], "control_net": ["12", 0]},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512}},
        "6": {"class_type": "LoadImage", "inputs": {"image": "input.png"}},
        "7": {"class_type": "VAEEncode", "inputs": {"pixels": ["6", 0], "vae": ["1", 2]}},
        "8": {"class_type": "VAEEncodeForInpaint", "inputs": {"pixels": ["6", 0], "mask": ["6", 1], "vae": ["1", 2]}},
        "10": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["4", 0], "negative": ["4", 1], "latent_image": [latent, 0],
                "seed": 12, "denoise": denoise, "sampler_name": "euler",
            },
        },
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (graph("5", 1.0), "generated"),
        (graph("7"), "edited"),
        (graph("7", 1.0), "generated"),
        (graph("8", 1.0), "composite"),
    ],
)
def test_comfy_graphs_are_followed(document: dict[str, Any], says: str) -> None:
    evidence = examine(png(prompt=json.dumps(document)))
    claim = evidence.claims[0]
    assert (claim.generator, claim.says, claim.prompt) == ("ComfyUI", says, "a fjord")
    assert evidence.findings[0].numbers["negative_prompt"] == "fog"
    assert evidence.findings[0].numbers["model"] == "sd15.ckpt"


def test_a_comfy_graph_that_goes_in_circles_or_only_saves_a_picture_claims_no_model() -> None:
    circle = {
        "1": {
            "class_type": "KSampler",
            "inputs": {"positive": ["2", 0], "negative": ["2", 0], "latent_image": ["2", 0]},
        },
        "2": {"class_type": "Reroute", "inputs": {"a": ["2", 0], "b": ["1", 0]}},
    }
    assert examine(png(prompt=json.dumps(circle))).claims[0].prompt is None
    save = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
    }
    evidence = examine(png(prompt=json.dumps(save)))
    assert evidence.claims[0].says == "other"
    assert evidence.score is None


def test_comfy_in_webp_keeps_its_graph_in_make_and_model() -> None:
    exif = Image.Exif()
    exif[0x010F] = "prompt:" + json.dumps(graph("5", 1.0))
    evidence = examine(encoded(picture(64, 48), "WEBP", exif=exif.tobytes()))
    assert [(claim.generator, claim.says) for claim in evidence.claims] == [("ComfyUI", "generated")]


@pytest.mark.parametrize("coding", ["utf-16-be", "utf-16-le", "ascii", "none"])
def test_parameters_in_user_comment(coding: str) -> None:
    start = {"ascii": b"ASCII\0\0\0", "none": b"\0" * 8}.get(coding, b"UNICODE\0")
    body = A1111.encode(coding if coding.startswith("utf") else "ascii")
    evidence = examine(jpeg(sub={0x9286: start + body}))
    assert evidence.claims[0].says == "generated"
    assert evidence.claims[0].source == "exif"
    assert evidence.claims[0].prompt == "a lighthouse, 8k, (storm:1.3)"


def test_japanese_user_comment() -> None:
    assert user_comment(b"JIS\0\0\0\0\0" + "灯台".encode("iso2022_jp")) == "灯台"


@pytest.mark.parametrize("size", [(96, 64), (40, 160)])  # the second is tall enough for the short cut
@pytest.mark.parametrize("packed", [False, True])
def test_a_recipe_hidden_in_the_alpha_channel(packed: bool, size: tuple[int, int]) -> None:
    hidden = json.dumps(
        {"Software": "NovelAI", "Source": "NovelAI Diffusion V4", "Comment": json.dumps(NOVEL)}
    ).encode()
    body = gzip.compress(hidden) if packed else hidden
    raw = (b"stealth_pngcomp" if packed else b"stealth_pnginfo") + struct.pack(">I", len(body) * 8) + body
    bits = np.unpackbits(np.frombuffer(raw, np.uint8))
    width, height = size
    flat = np.full(width * height, 254, np.uint8)
    flat[: bits.size] |= bits
    image = picture(width, height)
    image.putalpha(Image.fromarray(flat.reshape(width, height).T.copy()))
    evidence = examine(encoded(image, "PNG"))
    assert evidence.claims[0].source == "alpha_channel"
    assert (evidence.claims[0].generator, evidence.claims[0].prompt) == ("NovelAI", "a fjord")
    image.putalpha(254)
    assert examine(encoded(image, "PNG")).claims == ()


@pytest.mark.parametrize(
    ("packet", "says", "generator"),
    [
        (xmp('ext:DigitalSourceType="digsrctype:trainedAlgorithmicMedia"'), "generated", None),
        (xmp('ext:DigitalSourceType="cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia" '
             'xmp:CreatorTool="Adobe Firefly"'), "composite", "Adobe Firefly"),
        (xmp(inside="<ext:DigitalSourceType>https://cv.iptc.org/newscodes/digitalsourcetype/"
             "compositeWithTrainedAlgorithmicMedia</ext:DigitalSourceType>"), "composite", None),
        (xmp(inside='<ext:DigitalSourceType rdf:resource="http://cv.iptc.org/newscodes/digitalsourcetype/'
             'digitalCapture"/>'), "camera", None),
        (xmp('xmp:CreatorTool="Adobe Firefly"'), "generated", "Adobe Firefly"),
        (xmp('photoshop:Credit="Made with Google AI"'), "generated", "Google AI"),
        (xmp('photoshop:Credit="Edited with Google AI"'), "edited", "Google AI"),
        (xmp('ext:AISystemUsed="Painter 7" ext:AIPromptInformation="a fjord"'), "generated", "Painter 7"),
        (xmp(inside=f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{MIDJOURNEY}</rdf:li></rdf:Alt>'
             "</dc:description>"), "generated", "Midjourney"),
    ],
)  # fmt: skip
def test_xmp(packet: str, says: str, generator: str | None) -> None:
    evidence = examine(encoded(picture(64, 48), "JPEG", xmp=packet.encode()))
    assert [(claim.says, claim.generator, claim.rank) for claim in evidence.claims] == [(says, generator, "unsigned")]
    assert evidence.score == {"generated": 1.0, "camera": None}.get(says, 0.5)


def test_names_of_people_and_places_are_not_generators() -> None:
    packet = xmp('photoshop:Credit="Firefly Studios" xmp:CreatorTool="Adobe Photoshop 25.1"',
                 "<dc:creator><rdf:Seq><rdf:li>Stable Diffusion Firefly</rdf:li></rdf:Seq></dc:creator>")  # fmt: skip
    evidence = examine(
        jpeg(
            {0x010E: "Imagen de Midjourney, California", 0x013B: "DALL-E Smith", 0x0131: "GIMP 2.10"},
            xmp=packet.encode(),
        )
    )
    assert evidence.claims == ()
    assert evidence.score is None
    processed = [finding for finding in evidence.findings if "processed with" in finding.text]
    assert len(processed) == 2
    assert all(finding.polarity == "neutral" for finding in evidence.findings)


@pytest.mark.parametrize(
    "software",
    ["Firefly", "f.lux", "Gemini", "imagen", "COOLPIX", "Ver.1.00", "Image Creator Pro", "Grokking 3", "Flux"],
)
def test_software_that_is_no_generator(software: str) -> None:
    assert generator_in(software) is None
    assert credit_says(software) is None


@pytest.mark.parametrize(
    ("field", "value", "generator"),
    [
        (0x0131, "Stable Diffusion XL", "Stable Diffusion"),
        (0x0131, "OpenAI DALL·E", "DALL-E"),
        (0x010F, "Midjourney", "Midjourney"),
        (0x0131, "Gemini 2.5 Flash Image", "Google Gemini"),
    ],
)
def test_software_fields_that_name_a_generator(field: int, value: str, generator: str) -> None:
    evidence = examine(jpeg({field: value.encode() if not value.isascii() else value}))
    assert [(claim.says, claim.generator) for claim in evidence.claims] == [("generated", generator)]


def test_camera_exif_counts_nothing_and_coordinates_stay_private() -> None:
    exif = Image.Exif()
    exif.update({0x010F: "NIKON", 0x0110: "COOLPIX P6000"})
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0x9003: "2020:01:02 03:04:05"})
    exif.get_ifd(0x8825).update({1: "N", 2: (43.0, 28.0, 2.81), 3: "E", 4: (11.0, 53.0, 6.45)})
    evidence = examine(encoded(picture(64, 48), "JPEG", exif=exif.tobytes()))
    assert [(claim.says, claim.rank) for claim in evidence.claims] == [("camera", "unsigned")]
    assert evidence.score is None
    assert any("counts nothing" in finding.text for finding in evidence.findings)
    assert evidence.measurements["gps_present"] is True
    assert not re.search(
        r"43|28\.|11\.0|53|6\.45", evidence.model_dump_json(exclude={"measurements", "limits", "version"})
    )


def test_iptc_iim_in_photoshop_resources() -> None:
    iim = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
        for number, text in ((110, b"Imagined with AI"), (65, b"Adobe Photoshop"))
    )
    resource = (
        b"8BIM" + struct.pack(">H", 0x0404) + b"\0\0" + struct.pack(">I", len(iim)) + iim + b"\0" * (len(iim) & 1)
    )
    assert read_iptc(resource) == {"credit": "Imagined with AI", "program": "Adobe Photoshop"}
    body = b"Photoshop 3.0\0" + resource
    plain = encoded(picture(64, 48))
    evidence = examine(plain[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + plain[2:])
    assert [(claim.source, claim.says, claim.generator) for claim in evidence.claims] == [
        ("iptc", "generated", "Meta AI")
    ]


def test_a_file_without_anything_says_so() -> None:
    evidence = examine(encoded(picture(64, 48)))
    assert evidence.score is None
    assert (evidence.abstained_because or "").startswith("No provenance:")
    assert "A missing manifest means unknown provenance, nothing more." in evidence.limits


def test_metadata_is_bounded() -> None:
    chunk = b"parameters\0\0" + zlib.compress(b"a" * (MAX_BLOCK + 1))
    data = png()
    end = data.index(b"IDAT") - 4
    bomb = struct.pack(">I", len(chunk)) + b"zTXt" + chunk + struct.pack(">I", zlib.crc32(b"zTXt" + chunk))
    found = read_metadata(data[:end] + bomb + data[end:], "PNG")
    assert found.text == {}
    assert found.dropped == 1
    deep = "[" * 200_000
    said = Said()
    say_unsigned(Metadata(text={"prompt": deep, "parameters": "{" * 200_000, "Comment": deep}), deep, said)
    assert said.claims == []
    entities = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + xmp('xmp:CreatorTool="Adobe Firefly"')
    assert read_xmp(entities.encode()) == []


def test_figures_in_findings_stand_in_their_numbers() -> None:
    samples = [
        png(parameters=A1111),
        png(prompt=json.dumps(graph("7"))),
        jpeg({0x010F: "NIKON", 0x0110: "COOLPIX P6000", 0x0131: "GIMP 2.10"}, {0x9003: "2020:01:02 03:04:05"}),
        encoded(picture(64, 48), "JPEG", xmp=xmp('ext:AISystemUsed="Painter 7"').encode()),
    ]
    for data in samples:
        assert_grounded(examine(data))


def assert_grounded(evidence: Evidence) -> None:
    for finding in evidence.findings:
        told = " ".join(str(value) for value in finding.numbers.values())
        for figure in re.findall(r"(?<![\w.])\d+(?:[.:]\d+)*", finding.text):
            assert figure in told, (figure, finding)


def test_the_same_bytes_give_the_same_evidence() -> None:
    data = png(parameters=A1111)
    assert examine(data) == examine(data)


def test_blocks_of_other_formats_are_found() -> None:
    packet = xmp('xmp:CreatorTool="Adobe Firefly"').encode()
    exif = Image.Exif()
    exif[0x0131] = "Midjourney"
    for name, data in {
        "WEBP": encoded(picture(64, 48), "WEBP", xmp=packet, exif=exif.tobytes()),
        "PNG": encoded(picture(64, 48), "PNG", exif=exif.tobytes()),
        "TIFF": encoded(picture(64, 48), "TIFF", exif=exif),
        "AVIF": encoded(picture(64, 48), "AVIF", xmp=packet, exif=exif.tobytes()),
    }.items():
        found = {claim.generator for claim in examine(data).claims}
        assert "Midjourney" in found, name
        assert ("Adobe Firefly" in found) == (name in ("WEBP", "AVIF")), name
    gif = io.BytesIO()
    picture(64, 48).save(gif, "GIF", comment=A1111.encode())
    assert examine(gif.getvalue()).claims[0].says == "generated"
