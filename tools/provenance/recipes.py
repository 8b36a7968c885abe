"""The texts in which image generators leave their recipe, read into one form.

Formats as their programs write them: AUTOMATIC1111 and its forks (`parameters`), ComfyUI (`prompt`, `workflow`),
InvokeAI (`invokeai_metadata`, `sd-metadata`, `Dream`), NovelAI (`Comment`), Fooocus and SwarmUI (JSON `parameters`),
Midjourney (caption with its switches). Every text is bounded before it is parsed; what does not fit gives None.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tools.provenance.comfy import Graph, read_graph
from tools.provenance.vocabulary import Says

MAX_JSON = 4 * 2**20


@dataclass(frozen=True)
class Recipe:
    """How a program says that it made the picture.

    Attributes:
        program: Its name.
        says: `generated`, or `edited` and `composite` where it started from another picture.
        positive, negative: The prompts, "" where none is told.
        model, sampler, seed: As told.
        strength: Share of noise laid over the input picture, where there was one.
        manner: How the picture came about, in words.
    """

    program: str
    says: Says = "generated"
    positive: str = ""
    negative: str = ""
    model: str | None = None
    sampler: str | None = None
    seed: int | None = None
    strength: float | None = None
    manner: str = ""


def parse_json(text: str) -> Any:
    """Parses JSON of at most `MAX_JSON` characters; None for anything else, and for nesting that is too deep."""
    if len(text) > MAX_JSON or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def from_texts(texts: dict[str, str]) -> list[tuple[str, Recipe]]:
    """Every recipe in a file's named texts, with the name of the text that told it."""
    found: list[tuple[str, Recipe]] = []

    def add(name: str, recipe: Recipe | None) -> None:
        if recipe is not None and all(recipe != other for _, other in found):
            found.append((name, recipe))

    for name in ("parameters", "UserComment", "comment", "ImageDescription", "XPComment", "Description", "caption"):
        if name in texts:
            add(name, from_parameters(texts[name]))
    add("Comment", _novelai(texts))
    for name in ("invokeai_metadata", "sd-metadata", "Dream"):
        if name in texts:
            add(name, _invoke(name, texts[name]))
    for name in ("prompt", "workflow"):
        graph = read_graph(parse_json(texts.get(name, "")))
        if graph is not None:
            add(name, _comfy(graph))
            break
    return found


def from_parameters(text: str) -> Recipe | None:
    """Reads one text that may hold any of the self-describing recipes."""
    document = parse_json(text)
    if isinstance(document, dict):
        return _fooocus(document) or _swarm(document) or _novelai_json(document, "")
    return _a1111(text) or _midjourney(text)


_STEPS = re.compile(r"^\s*Steps:\s*\d+\s*,.*$", re.MULTILINE)
_PAIR = re.compile(r'\s*([A-Za-z][\w /.-]{0,40}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')


def _a1111(text: str) -> Recipe | None:
    text = text[:MAX_JSON]
    steps = None
    for steps in _STEPS.finditer(text):  # noqa: B007
        pass  # the last one: a prompt may itself speak of steps
    if steps is None:
        return None
    told = {name.strip().lower(): value.strip().strip('"') for name, value in _PAIR.findall(steps[0][:20_000])}
    if not told.keys() & {"sampler", "seed", "cfg scale", "model hash", "model"}:
        return None
    prompt, _, negative = text[: steps.start()].partition("Negative prompt:")
    version = told.get("version", "")
    program = "AUTOMATIC1111 or a fork of it"
    for known in ("Fooocus", "ComfyUI", "SD.Next"):
        if known.lower() in f"{version} {told.get('app', '')}".lower():
            program = known
    strength = _float(told.get("denoising strength"))
    says: Says = "generated"
    manner = "text to image"
    if "mask blur" in told or "inpainting fill" in told or "masked content" in told:
        says, manner = "composite", "inpainting"
    elif strength is not None and strength < 1 and not any(key.startswith("hires") for key in told):
        says, manner = "edited", "image to image"
    return Recipe(
        program=program,
        says=says,
        positive=prompt.strip(),
        negative=negative.strip(),
        model=told.get("model") or told.get("model hash"),
        sampler=told.get("sampler"),
        seed=_int(told.get("seed")),
        strength=strength if says != "generated" else None,
        manner=manner,
    )


_JOB = re.compile(r"\bJob ID:\s*[0-9a-f]{8}-[0-9a-f-]{20,30}", re.IGNORECASE)
_SWITCH = re.compile(r"\s--(?:v|version|ar|aspect|niji|stylize|style|chaos|seed|q|quality|s|raw|sref|profile)\b")


def _midjourney(text: str) -> Recipe | None:
    text = text[:20_000]
    job, switch = _JOB.search(text), _SWITCH.search(text)
    if job is None and len(_SWITCH.findall(text)) < 2:
        return None
    end = min(found.start() for found in (job, switch) if found is not None)
    return Recipe(program="Midjourney", positive=text[:end].strip(), manner="text to image")


def _fooocus(document: dict[str, Any]) -> Recipe | None:
    fooocus = "fooocus" in str(document.get("version", "")).lower() or "fooocus" in str(
        document.get("metadata_scheme", document.get("fooocus_scheme", ""))
    )
    if not fooocus or not {"prompt", "base_model", "seed"} & document.keys():
        return None
    return Recipe(
        program="Fooocus",
        positive=_str(document.get("prompt")),
        negative=_str(document.get("negative_prompt")),
        model=_str(document.get("base_model")) or None,
        sampler=_str(document.get("sampler")) or None,
        seed=_int(document.get("seed")),
        manner="text to image",
    )


def _swarm(document: dict[str, Any]) -> Recipe | None:
    told = document.get("sui_image_params")
    if not isinstance(told, dict):
        return None
    strength = _float(told.get("initimagecreativity"))
    says: Says = "composite" if "maskimage" in told else "edited" if "initimage" in told else "generated"
    return Recipe(
        program="SwarmUI",
        says=says,
        positive=_str(told.get("prompt")),
        negative=_str(told.get("negativeprompt")),
        model=_str(told.get("model")) or None,
        sampler=_str(told.get("sampler")) or None,
        seed=_int(told.get("seed")),
        strength=strength if says != "generated" else None,
        manner={"composite": "inpainting", "edited": "image to image"}.get(says, "text to image"),
    )


def _novelai(texts: dict[str, str]) -> Recipe | None:
    named = f"{texts.get('Software', '')} {texts.get('Source', '')} {texts.get('Title', '')}"
    if "novelai" not in named.lower():
        return None
    document = parse_json(texts.get("Comment", ""))
    recipe = _novelai_json(document, texts.get("Source", "")) if isinstance(document, dict) else None
    return recipe or Recipe(
        program="NovelAI", positive=texts.get("Description", ""), model=texts.get("Source"), manner="text to image"
    )


_NOVELAI_USES: dict[str, tuple[Says, str]] = {
    "Img2ImgRequest": ("edited", "image to image"),
    "NativeInfillingRequest": ("composite", "inpainting"),
}


def _novelai_json(document: dict[str, Any], source: str) -> Recipe | None:
    """NovelAI's `Comment`; also its stealth text, which wraps that as a string beside Title and Software."""
    inner = document.get("Comment")
    if isinstance(inner, str) and "novelai" in f"{document.get('Software')} {document.get('Source')}".lower():
        comment = parse_json(inner)
        return _novelai_json(comment, _str(document.get("Source"))) if isinstance(comment, dict) else None
    if not {"prompt", "uc"} <= document.keys():
        return None
    says, manner = _NOVELAI_USES.get(_str(document.get("request_type")), ("generated", "text to image"))
    return Recipe(
        program="NovelAI",
        says=says,
        positive=_str(document.get("prompt")),
        negative=_str(document.get("uc")),
        model=source or None,
        sampler=_str(document.get("sampler")) or None,
        seed=_int(document.get("seed")),
        strength=_float(document.get("strength")) if says != "generated" else None,
        manner=manner,
    )


_DREAM = re.compile(r'^\s*"(?P<prompt>.*)"\s+(?P<switches>-.*)$', re.DOTALL)


def _invoke(name: str, text: str) -> Recipe | None:
    if name == "Dream":
        found = _DREAM.match(text[:20_000])
        if found is None:
            return None
        seed = re.search(r"-S\s?(\d+)", found["switches"])
        started = re.search(r"(?:^|\s)-I\s", found["switches"]) is not None
        return Recipe(
            program="InvokeAI",
            says="edited" if started else "generated",
            positive=found["prompt"],
            seed=_int(seed[1]) if seed else None,
            manner="image to image" if started else "text to image",
        )
    document = parse_json(text)
    if not isinstance(document, dict):
        return None
    image = document.get("image")
    told = image if isinstance(image, dict) else document
    model = told.get("model", document.get("model_weights"))
    if isinstance(model, dict):
        model = model.get("name", model.get("model_name"))
    prompt = told.get("positive_prompt", told.get("prompt"))
    if isinstance(prompt, list):
        prompt = ", ".join(_str(part.get("prompt")) for part in prompt[:50] if isinstance(part, dict))
    mode = f"{told.get('generation_mode', '')} {told.get('type', '')}".lower()
    says: Says = "generated"
    manner = "text to image"
    if "inpaint" in mode or "outpaint" in mode:
        says, manner = "composite", "inpainting"
    elif "img2img" in mode:
        says, manner = "edited", "image to image"
    return Recipe(
        program="InvokeAI",
        says=says,
        positive=_str(prompt),
        negative=_str(told.get("negative_prompt")),
        model=_str(model) or None,
        sampler=_str(told.get("scheduler", told.get("sampler"))) or None,
        seed=_int(told.get("seed")),
        strength=_float(told.get("strength")) if says != "generated" else None,
        manner=manner,
    )


_COMFY_SAYS: dict[str, Says] = {
    "text to image": "generated",
    "image to image": "edited",
    "inpainting": "composite",
    "upscaling": "edited",
    "unclear": "other",
}


def _comfy(graph: Graph) -> Recipe:
    return Recipe(
        program="ComfyUI",
        says=_COMFY_SAYS[graph.use],
        positive=graph.positive,
        negative=graph.negative,
        model=graph.model,
        sampler=graph.sampler,
        seed=graph.seed,
        strength=graph.denoise if graph.use in ("image to image", "inpainting") else None,
        manner=graph.use,
    )


def _str(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _int(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 2**64 and not isinstance(value, bool) else None


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= 1000 else None  # also refuses NaN
