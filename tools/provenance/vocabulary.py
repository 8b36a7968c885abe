"""The words that provenance speaks in: IPTC digital source types, names of generators and of editing software."""

from __future__ import annotations

import re
from typing import Literal

Says = Literal["generated", "composite", "edited", "camera", "other"]

# IPTC NewsCodes "digitalsourcetype" (cv.iptc.org) and C2PA's additions (c2pa.org/digitalsourcetype). Only what names
# *trained* models counts as AI, and only a capture by a camera counts as camera: compositeSynthetic and
# algorithmicMedia also cover hand-made computer graphics, and a scanned print or film may show anything.
SOURCE_TYPES: dict[str, tuple[Says, str]] = {
    "trainedalgorithmicmedia": ("generated", "made by a model trained on sampled content (generative AI)"),
    "compositewithtrainedalgorithmicmedia": ("composite", "a composite with parts made by a generative model"),
    "digitalcapture": ("camera", "captured from a real scene by a digital camera"),
    "computationalcapture": ("camera", "captured from a real scene and put together from several frames by the camera"),
    "compositesynthetic": ("other", "a composite with synthetic parts, which need not come from a generative model"),
    "algorithmicmedia": ("other", "made by an algorithm that was not trained on sampled content"),
    "algorithmicallyenhanced": ("other", "enhanced by an algorithm that adds no content"),
    "trainedalgorithmicdata": ("other", "data made by a trained model"),
    "compositecapture": ("other", "a composite of several captures"),
    "composite": ("other", "a composite of several elements"),
    "humanedits": ("other", "edited by a person without generative tools"),
    "minorhumanedits": ("other", "edited slightly by a person without generative tools"),
    "digitalcreation": ("other", "made by a person with software"),
    "digitalart": ("other", "made by a person with software"),
    "datadrivenmedia": ("other", "drawn from data"),
    "screencapture": ("other", "a screen capture"),
    "virtualrecording": ("other", "a recording of a virtual scene"),
    "softwareimage": ("other", "made by software"),
    "print": ("other", "scanned from a print"),
    "negativefilm": ("other", "digitised from negative film"),
    "positivefilm": ("other", "digitised from positive film"),
    "empty": ("other", "an empty canvas"),
}

_SOURCE_URL = re.compile(
    r"^\s*(?:(?:https?://)?(?:www\.)?(?:cv\.iptc\.org/newscodes|c2pa\.org)/digitalsourcetype/|digsrctype:)?"
    r"([A-Za-z]{3,60})/?\s*$",
    re.IGNORECASE,
)


def source_type(value: object) -> tuple[str, Says, str] | None:
    """Reads a digital source type in any spelling: bare, `digsrctype:`, or a URL of IPTC or C2PA (http or https).

    Returns:
        Its bare name as it was written, what it claims, and what it means; None where `value` is no known type.
    """
    if not isinstance(value, str) or (found := _SOURCE_URL.match(value)) is None:
        return None
    known = SOURCE_TYPES.get(found[1].lower())
    return None if known is None else (found[1], *known)


def _words(**named: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple(
        (name.replace("__", "-").replace("_", " "), re.compile(rf"(?<![\w.]){pattern}(?!\w)", re.IGNORECASE))
        for name, pattern in named.items()
    )


# Matched as whole words, and only in fields that name software: "Firefly" may be a photographer, "imagen" is Spanish
# for picture, and Gemini and Flux are ordinary words, so those need their maker or a version beside them.
_GENERATORS = _words(
    Adobe_Firefly=r"(?:adobe\s+firefly|firefly\s+(?:image|video|\d))",
    AUTOMATIC1111=r"(?:automatic1111|stable[\s-]diffusion[\s-]web\s?ui)",
    ComfyUI=r"comfyui",
    InvokeAI=r"invoke[\s-]?ai",
    NovelAI=r"novelai",
    Fooocus=r"fooocus",
    Stable_Diffusion=r"(?:stable[\s-]?diffusion|sdxl|dreamstudio|stability\s?ai|stability\.ai)",
    Midjourney=r"mid\s?journey",
    DALL__E=r"dall[\s·.•-]?e(?:\s?[23])?",
    GPT_image=r"(?:gpt-?image[\w.-]*|chatgpt|gpt-4o|openai(?:\s+api)?)",
    Google_Imagen=r"(?:google\s+imagen|imagen[\s-]?\d[\w.]*)",
    Google_Gemini=r"(?:google\s+gemini|gemini[\s-]\d[\w.-]*|nano\s?banana)",
    Google_AI=r"google\s+(?:generative\s+)?ai",
    Bing_Image_Creator=r"(?:bing\s+image\s+creator|microsoft\s+designer|image\s+creator\s+from\s+(?:microsoft|designer))",
    FLUX=r"(?:flux\.?[12](?:[\s.-][\w.-]+)?|black\s+forest\s+labs)",
    Ideogram=r"ideogram(?:\.ai|\s?ai|\s\d[\w.]*)?",
    Leonardo_AI=r"leonardo[\s.]?ai",
    Recraft=r"recraft(?:\.ai|\s?ai|\s?v\d)?",
    Meta_AI=r"(?:meta\s+ai|imagined\s+with\s+ai)",
    Grok=r"(?:grok(?:\s+imagine|[\s-]\d[\w.-]*)|xai\s+grok)",
    SwarmUI=r"swarmui",
    SD_Next=r"sd\.next",
    Draw_Things=r"draw\s+things",
    DiffusionBee=r"diffusionbee",
    Easy_Diffusion=r"easy\s+diffusion",
    NightCafe=r"nightcafe",
    Playground_AI=r"playground\s?ai",
    Krea=r"krea(?:\.ai|\s?ai)",
    Seedream=r"seedream[\w.\s-]{0,8}",
    Qwen_Image=r"qwen[\s-]image",
)

_EDITORS = _words(
    Adobe_Photoshop=r"photoshop",
    Adobe_Lightroom=r"lightroom",
    Adobe_Camera_Raw=r"camera\s+raw",
    GIMP=r"gimp",
    Affinity_Photo=r"affinity(?:\s+(?:photo|designer))?",
    Capture_One=r"capture\s+one",
    Snapseed=r"snapseed",
    Paint_NET=r"paint\.net",
    Pixelmator=r"pixelmator",
    darktable=r"darktable",
    RawTherapee=r"rawtherapee",
    Luminar=r"luminar",
    Picasa=r"picasa",
    ACDSee=r"acdsee",
    PaintShop=r"paint\s?shop",
    ImageMagick=r"imagemagick",
    Canva=r"canva",
    VSCO=r"vsco",
    PicsArt=r"picsart",
    XnView=r"xnview",
    DxO=r"dxo",
    IrfanView=r"irfanview",
)


def generator_in(software: str) -> str | None:
    """The known generator that a *software* field names, or None. Never ask it of a person's name or a caption."""
    return _first(_GENERATORS, software)


def editor_in(software: str) -> str | None:
    """The known editing program that a software field names, or None."""
    return _first(_EDITORS, software)


def _first(table: tuple[tuple[str, re.Pattern[str]], ...], text: str) -> str | None:
    return next((name for name, pattern in table if pattern.search(text[:1000])), None)


_CREDIT = re.compile(
    r"^\s*(made|created|generated|imagined|edited)\s+(?:with|by|using)\s+(?:[\w.]+\s+){0,3}AI\s*$", re.I
)


def credit_says(credit: str) -> Literal["generated", "edited"] | None:
    """Reads a credit line that speaks of AI ("Made with Google AI", "Imagined with AI"); None for any other."""
    found = _CREDIT.match(credit[:200])
    if found is None:
        return None
    return "edited" if found[1].lower() == "edited" else "generated"


QUOTE = 280
"""Characters of a prompt or other foreign text that a finding quotes."""


def plain(text: object, limit: int = QUOTE) -> str:
    """Foreign text made fit for a sentence: one line, nothing unprintable, at most `limit` characters."""
    kept = "".join(c if c.isprintable() else " " for c in str(text)[: limit * 8])
    line = " ".join(kept.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
