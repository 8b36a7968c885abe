"""Every file of shared provenance/ and odd/: its C2PA state, what it claims, and what that may decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import SHARED, encoded, picture
from tests.tools.c2pa_signing import Authority, action, sign
from tests.tools.test_provenance_unsigned import A1111, assert_grounded, jpeg, png
from tools.contract import Budget, Evidence
from tools.detectors.provenance import provenance
from tools.errors import ImageError
from tools.image import SourceImage
from tools.provenance import use_trust_list
from tools.provenance.containers import Metadata
from tools.provenance.credentials import Store
from tools.provenance.manifests import walk
from tools.provenance.said import Said
from tools.provenance.unsigned import say_unsigned

# file: state, problems, claims as (source, says, rank, depth), score
Row = tuple[str, str | None, set[tuple[str, str, str, int]], float | None]
CAMERA = ("exif", "camera", "unsigned", 0)
SILENT = ("c2pa", "other", "valid_unknown_signer", 0)
BROKEN = ("c2pa", "other", "invalid", 0)
TABLE: dict[str, Row] = {
    "Canon_40D.jpg": ("none", None, {CAMERA}, None),
    "Canon_40D_photoshop_import.jpg": ("none", None, set(), None),
    "DSCN0010.jpg": ("none", None, {CAMERA}, None),
    "adobe-20220124-A.jpg": ("none", None, {CAMERA}, None),
    "adobe-20220124-I.jpg": ("none", None, {CAMERA}, None),
    "adobe-20220124-C.jpg": ("Valid", None, {SILENT}, None),
    "adobe-20220124-CA.jpg": ("Valid", None, {SILENT}, None),
    "adobe-20220124-CAI.jpg": ("Valid", None, {SILENT}, None),
    "adobe-20220124-CI.jpg": ("Valid", None, {SILENT}, None),
    "adobe-20220124-E-clm-CAICAI.jpg": ("Invalid", "malformed, tampered", {BROKEN}, None),
    "adobe-20220124-E-dat-CA.jpg": ("Invalid", "tampered", {BROKEN}, None),
    "adobe-20220124-E-sig-CA.jpg": ("Invalid", "tampered", {BROKEN}, None),
    "adobe-20220124-XCA.jpg": ("Invalid", "tampered", {BROKEN}, None),
    # Its certificate expired on 13 January 2026 and it bears no time stamp; its ingredient is what names the model.
    "gpt-image-c2pa.png": ("Invalid", "expired, malformed", {BROKEN, ("c2pa", "generated", "invalid", 1)}, None),
    # The bytes that its hash covers match, but the hash leaves out more than the manifest.
    "truepic-20230212-camera.jpg": ("Invalid", "malformed", {BROKEN, CAMERA}, None),
    **{
        f"comfyui-{name}.png": ("none", None, {("png_text", says, "unsigned", 0)}, score)
        for name, says, score in (
            ("depth_controlnet", "generated", 1.0),
            ("embedding_example", "generated", 1.0),
            ("hypernetwork_example", "generated", 1.0),
            ("img2img_workflow", "edited", 0.5),
            ("inpaint_example", "composite", 0.5),
            ("lora", "generated", 1.0),
            ("lora_multiple", "generated", 1.0),
            ("sdxlturbo_example", "generated", 1.0),
        )
    },
}
PROMPTS = {
    "comfyui-depth_controlnet.png": "underwater photograph shark",
    "comfyui-img2img_workflow.png": "photograph of victorian woman with wings, sky clouds, meadow grass",
    "comfyui-lora.png": "masterpiece best quality girl",
}


@pytest.fixture(params=["shipped", "empty"])
def trust(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    empty = tmp_path / "empty.pem"
    empty.touch()
    use_trust_list(None if request.param == "shipped" else empty)
    yield request.param
    use_trust_list(None)


def examine(data: bytes, name: str = "picture") -> Evidence:
    return provenance.examine(SourceImage.open(data, name), Budget())


def test_every_signed_and_unsigned_file(shared: Path, trust: str) -> None:
    files = sorted((shared / "provenance").iterdir())
    assert {file.name for file in files} == set(TABLE)
    found = {}
    for file in files:
        evidence = examine(file.read_bytes(), file.name)
        found[file.name] = (
            evidence.measurements["c2pa_state"],
            evidence.measurements.get("c2pa_problem"),
            {(claim.source, claim.says, claim.rank, claim.depth) for claim in evidence.claims},
            evidence.score,
        )
        assert evidence.measurements["trust_list"] == ("shipped" if trust == "shipped" else "empty.pem")
        assert_grounded(evidence)
        if file.name in PROMPTS:
            assert evidence.claims[0].prompt == PROMPTS[file.name]
    assert found == TABLE


def test_signer_generator_and_time_are_told(shared: Path) -> None:
    evidence = examine((shared / "provenance" / "gpt-image-c2pa.png").read_bytes())
    ingredient = next(claim for claim in evidence.claims if claim.depth == 1)
    assert ingredient.generator == "GPT-4o"
    assert ingredient.signer == "OpenAI (Truepic Lens CLI in ChatGPT)"
    assert evidence.findings[0].numbers["authority"] == "Truepic (WebClaimSigningCA)"
    evidence = examine((shared / "provenance" / "adobe-20220124-C.jpg").read_bytes())
    assert evidence.findings[0].numbers["signed_at"] == "2023-01-24T14:48:56+00:00"
    assert evidence.measurements["c2pa_time_stamp"] == "legacy"


def test_coordinates_are_never_told(shared: Path) -> None:
    for name in ("DSCN0010.jpg", "truepic-20230212-camera.jpg"):  # the second has them in its manifest
        told = examine((shared / "provenance" / name).read_bytes()).model_dump_json()
        assert "43.46" not in told
        assert "43.15" not in told
        assert "77.58" not in told


def test_odd_files_never_raise(shared: Path) -> None:
    examined = 0
    for file in sorted((shared / "odd").iterdir()):
        try:
            image = SourceImage.open(file.read_bytes(), file.name)
        except (ImageError, OSError, SyntaxError, ValueError):
            continue  # refused before any tool runs
        evidence = provenance.examine(image, Budget())
        assert evidence.measurements["c2pa_state"] == "none"
        assert evidence.score is None
        examined += 1
    assert examined >= 4


def _samples() -> list[bytes]:
    authority = Authority("Fuzz")
    works = authority.issue("Fuzz Works", "Fuzz")
    made = sign(works, action("c2pa.created", "trainedAlgorithmicMedia"))
    samples = [
        sign(works, action("c2pa.opened"), action("c2pa.edited"), ingredients=((made, "parentOf"),)),
        png(parameters=A1111, prompt='{"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}}}'),
        jpeg({0x010F: "NIKON", 0x0131: "GIMP 2.10"}, {0x9286: b"UNICODE\0" + A1111.encode("utf-16-be")}),
        encoded(picture(64, 48), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    ]
    if (SHARED / "provenance").exists():
        samples += [(SHARED / "provenance" / name).read_bytes() for name in ("DSCN0010.jpg", "adobe-20220124-C.jpg")]
    return samples


SAMPLES = _samples()


@given(
    which=st.integers(0, len(SAMPLES) - 1),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=12)), min_size=1, max_size=8),
    cut=st.floats(0.3, 1),
)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_files_never_raise(which: int, edits: list[tuple[float, bytes]], cut: float) -> None:
    data = bytearray(SAMPLES[which])
    for where, value in edits:
        # Mostly in the first part, where the metadata stands.
        at = int(where**3 * (len(data) - len(value)))
        data[at : at + len(value)] = value
    del data[int(cut * len(data)) :]
    good = SourceImage.open(encoded(picture(32, 32)), "good")
    # The bytes go in as they are, though they may no longer decode: a tool must bear any bytes at all.
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF"):
        fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
        image = type(good)(**fields | {"data": bytes(data), "format": image_format, "mode": "RGBA"})
        evidence = provenance.examine(image, Budget())
        assert not any(claim.rank == "trusted" for claim in evidence.claims)


_KEYS = [
    "prompt", "uc", "inputs", "class_type", "positive", "negative", "latent_image", "nodes", "links", "widgets_values",
    "sui_image_params", "version", "image", "model", "seed", "actions", "action", "digitalSourceType", "softwareAgent",
    "softwareAgents", "softwareAgentIndex", "text", "Comment", "Software", "1", "denoise", "type", "id", "link", "name",
]  # fmt: skip
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["KSampler", "LoadImage", "VAEEncode", "Fooocus", "NovelAI", "1", "trainedAlgorithmicMedia"])
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5),
    max_leaves=25,
)


@given(document=_JSON, label=st.sampled_from(["c2pa.actions", "c2pa.actions.v2", "cawg.metadata"]))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_strange_json_never_raises(document: object, label: str) -> None:
    text = json.dumps(document)
    names = ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Comment", "UserComment")
    say_unsigned(Metadata(text=dict.fromkeys(names, text) | {"Software": "NovelAI"}), text, Said())
    manifest = {"assertions": [{"label": label, "data": document}], "claim_generator_info": [document]}
    store = Store("Valid", report={"active_manifest": "a", "manifests": {"a": manifest}})
    assert walk(store)[0][0].label == "a"
