"""Reads the node graph that ComfyUI leaves in a file: prompts, checkpoint, and whether an input picture was used.

A prompt is found by following a sampler's `positive` and `negative` inputs upstream to the text encoders; an input
picture by following its latent input to a VAE encoder and on to a loader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Use = Literal["text to image", "image to image", "inpainting", "upscaling", "unclear"]

_MAX_NODES = 5000
_MAX_STEPS = 400
_TEXT_KEYS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "llama", "prompt", "string", "value", "wildcard_text")
_NOT_CONDITIONING = {
    "model",
    "vae",
    "clip",
    "clip_vision",
    "control_net",
    "image",
    "images",
    "pixels",
    "mask",
    "style_model",
}
# Widgets of nodes that the interface's own format (`workflow`) keeps by position.
_WIDGETS: dict[str, tuple[str, ...]] = {
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": ("", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "LoraLoader": ("lora_name",),
}


@dataclass(frozen=True)
class Graph:
    """What a graph tells.

    Attributes:
        nodes: How many nodes it has.
        samplers: How many of them sample.
        positive, negative: Prompts, "" where none was found.
        model: File name of the checkpoint.
        sampler, seed, denoise: Of the first sampler; denoise is the share of noise laid over an input picture.
        use: How the picture came about.
        loads_picture: Whether any node loads a picture, be it only as guidance.
    """

    nodes: int
    samplers: int
    positive: str
    negative: str
    model: str | None
    sampler: str | None
    seed: int | None
    denoise: float | None
    use: Use
    loads_picture: bool


Node = tuple[str, dict[str, Any]]


def read_graph(document: Any) -> Graph | None:
    """Reads a `prompt` (API format) or a `workflow` (interface format); None where it is neither."""
    nodes = _api_nodes(document) or _interface_nodes(document)
    if not nodes:
        return None
    samplers = [node for node in nodes.values() if _samples(node)]
    texts = {role: _prompt(nodes, samplers, role) for role in ("positive", "negative")}
    first = samplers[0][1] if samplers else {}
    loads = any(_is_loader(kind) for kind, _ in nodes.values())
    denoise = _number(first.get("denoise"))
    return Graph(
        nodes=len(nodes),
        samplers=len(samplers),
        positive=texts["positive"],
        negative=texts["negative"],
        model=_named(nodes, "ckpt_name", "unet_name", "model_name"),
        sampler=_text(first.get("sampler_name")),
        seed=_whole(first.get("seed", first.get("noise_seed"))),
        denoise=denoise,
        use=_use(nodes, samplers, loads),
        loads_picture=loads,
    )


def _api_nodes(document: Any) -> dict[str, Node]:
    if not isinstance(document, dict):
        return {}
    return {
        str(name): (str(node["class_type"]), node["inputs"])
        for name, node in list(document.items())[:_MAX_NODES]
        if isinstance(node, dict) and isinstance(node.get("inputs"), dict) and "class_type" in node
    }


def _interface_nodes(document: Any) -> dict[str, Node]:
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
        return {}
    links = {
        link[0]: [str(link[1]), link[2]]
        for link in _list(document.get("links"))
        if isinstance(link, list) and len(link) > 2 and isinstance(link[0], int)
    }
    nodes: dict[str, Node] = {}
    for node in _list(document["nodes"]):
        if not isinstance(node, dict) or node.get("mode") in (2, 4):  # muted, bypassed
            continue
        kind = str(node.get("type"))
        inputs: dict[str, Any] = {}
        for entry in _list(node.get("inputs")):
            link = entry.get("link") if isinstance(entry, dict) else None
            if isinstance(link, int) and link in links:
                inputs[str(entry.get("name"))] = links[link]
        widgets = _list(node.get("widgets_values"))
        for name, value in zip(_WIDGETS.get(kind, ()), widgets, strict=False):
            if name:
                inputs.setdefault(name, value)
        if "TextEncode" in kind:
            inputs.setdefault("text", " ".join(value for value in widgets if isinstance(value, str)))
        nodes[str(node.get("id"))] = (kind, inputs)
    return nodes


def _samples(node: Node) -> bool:
    kind, inputs = node
    if "Sampler" in kind and inputs.keys() & {"guider", "latent_image", "positive"}:
        return True
    return "positive" in inputs and bool(inputs.keys() & {"latent_image", "seed", "noise_seed"})


def _is_loader(kind: str) -> bool:
    return "Load" in kind and ("Image" in kind or "Video" in kind)


def _link(value: Any, nodes: dict[str, Node]) -> tuple[str, int] | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], int) and str(value[0]) in nodes:
        return str(value[0]), value[1]
    return None


def _prompt(nodes: dict[str, Node], samplers: list[Node], role: str) -> str:
    """The texts upstream of every sampler's `role` input, without repetition."""
    found: dict[str, None] = {}
    starts = [inputs.get(role) for _, inputs in samplers]
    if role == "positive":
        starts += [inputs.get("guider") for _, inputs in samplers]
    waiting = [link for value in starts if (link := _link(value, nodes))]
    seen: set[tuple[str, int]] = set()
    for _ in range(_MAX_STEPS):
        if not waiting:
            break
        at = waiting.pop(0)
        if at in seen:
            continue
        seen.add(at)
        inputs = nodes[at[0]][1]
        both = "positive" in inputs and "negative" in inputs
        for name, value in inputs.items():
            if name in _NOT_CONDITIONING:
                continue
            # A node that passes both on gives the positive first; a guider takes both and is asked for the positive.
            wanted = "negative" if both and at[1] == 1 else "positive"
            if both and name in ("positive", "negative") and name != wanted:
                continue
            if (link := _link(value, nodes)) is not None:
                waiting.append(link)
            elif isinstance(value, str) and name in _TEXT_KEYS and value.strip():
                found.setdefault(value.strip())
    return "\n".join(found)


def _use(nodes: dict[str, Node], samplers: list[Node], loads: bool) -> Use:
    if not samplers:
        upscales = any("Upscale" in kind and "Model" in kind for kind, _ in nodes.values())
        return "upscaling" if upscales and loads else "unclear"
    use: Use = "text to image"
    for _, inputs in samplers:
        upstream = _upstream(nodes, inputs.get("latent_image"))
        encoded = any("VAEEncode" in kind or "InpaintModel" in kind for kind in upstream)
        direct = _upstream(nodes, inputs.get("image"))  # detailers and tiled upscalers take pixels
        if any(map(_is_loader, direct)) or (encoded and any(map(_is_loader, upstream))):
            if any("Inpaint" in kind or kind == "SetLatentNoiseMask" for kind in upstream):
                return "inpainting"
            denoise = _number(inputs.get("denoise"))
            if denoise is None or denoise < 1.0:  # under full noise nothing of the input picture is left
                use = "image to image"
    return use


def _upstream(nodes: dict[str, Node], start: Any) -> set[str]:
    """Kinds of all nodes upstream of a link, models aside."""
    kinds: set[str] = set()
    seen: set[str] = set()
    waiting = [link[0]] if (link := _link(start, nodes)) else []
    for _ in range(_MAX_STEPS):
        if not waiting:
            break
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        kind, inputs = nodes[name]
        kinds.add(kind)
        # Conditioning may hang on another picture (a control net's), which is guidance and not the latent's source.
        skipped = {"model", "vae", "clip"}
        if "InpaintModel" not in kind:
            skipped |= {"positive", "negative", "control_net"}
        waiting.extend(
            link[0] for key, value in inputs.items() if key not in skipped and (link := _link(value, nodes)) is not None
        )
    return kinds


def _named(nodes: dict[str, Node], *keys: str) -> str | None:
    for key in keys:
        for _, inputs in nodes.values():
            if (text := _text(inputs.get(key))) is not None:
                return text
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9 else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64 else None


def _list(value: Any) -> list[Any]:
    return value[:_MAX_NODES] if isinstance(value, list) else []
