"""Says in sentences what unsigned metadata claims: EXIF, IPTC, XMP and the recipes of generators."""

from __future__ import annotations

from tools.contract import Number
from tools.provenance.containers import MAX_BLOCK, Metadata
from tools.provenance.fields import Exif, read_exif, read_iptc, read_xmp
from tools.provenance.recipes import Recipe, from_texts
from tools.provenance.said import Said, quoted
from tools.provenance.vocabulary import Says, credit_says, editor_in, generator_in, plain, source_type

_SAYS = {
    "generated": "was made by a generative model",
    "composite": "has parts that were made by a generative model, in another picture",
    "edited": "was made by a generative model out of another picture",
    "other": "passed through a program for generative models, but not whether a model made or altered it",
}
_MANNERS = {
    "image to image": "image to image, from an input picture",
    "inpainting": "inpainting: parts of an input picture were replaced",
    "upscaling": "an input picture was upscaled by a model",
}
_SOFTWARE_EXIF = {"Software", "ProcessingSoftware", "Make", "Model", "HostComputer"}
_SOFTWARE_XMP = {"CreatorTool", "Software", "softwareAgent", "Generator"}
_SOFTWARE_TEXT = {"Software", "Source", "generator", "Creator Tool"}
_FORGEABLE = "Nobody signed this, and anyone can write it."


def say_unsigned(metadata: Metadata, hidden: str | None, said: Said) -> None:
    """Adds what `metadata`, and a text hidden in the alpha channel, have to say to `said`."""
    exif = Exif()
    for block in metadata.exif[:4]:
        read = read_exif(block)
        exif.fields = read.fields | exif.fields
        exif.gps = exif.gps or read.gps
    xmp = [pair for packet in metadata.xmp[:4] for pair in read_xmp(packet)]
    iptc = {name: value for block in metadata.iptc[:4] for name, value in read_iptc(block).items()}

    _say_recipes(metadata, exif, xmp, iptc, hidden, said)
    software = _software(metadata, exif, xmp, iptc)
    _say_source_type(xmp, next((maker for *_, value in software if (maker := generator_in(value))), None), said)
    _say_ai_properties(xmp, said)
    _say_credit(xmp, iptc, said)
    _say_software(software, said)
    _say_camera(exif, said)
    if exif.gps:
        said.find("EXIF holds a GPS position. It is not repeated here, to protect whoever took the picture.")
    if metadata.dropped:
        said.find(
            f"{metadata.dropped} metadata blocks were larger than {MAX_BLOCK} bytes and were not read.",
            {"blocks": metadata.dropped, "bytes": MAX_BLOCK},
        )
    said.measurements |= {
        "exif_fields": len(exif.fields),
        "xmp_properties": len(xmp),
        "iptc_fields": len(iptc),
        "text_chunks": len(metadata.text),
        "gps_present": exif.gps,
    }


def _say_recipes(
    metadata: Metadata, exif: Exif, xmp: list[tuple[str, str]], iptc: dict[str, str], hidden: str | None, said: Said
) -> None:
    texts = dict(metadata.text)
    told = {
        name: text for name, text in exif.fields.items() if name in ("UserComment", "ImageDescription", "XPComment")
    }
    # ComfyUI's WebP writer has no text chunks and puts its graphs in Make and Model.
    for value in (exif.fields.get("Make", ""), exif.fields.get("Model", "")):
        name, mark, graph = value.partition(":")
        if mark and name in ("prompt", "workflow"):
            told[name] = graph
    captions = [value for name, value in xmp if name in ("UserComment", "description")]
    sources: list[tuple[str, dict[str, str]]] = [("png_text", texts), ("exif", told), ("iptc", iptc)]
    sources += [("xmp", {"caption": value}) for value in captions[:8]]
    sources += [("alpha channel", {"parameters": hidden})] if hidden else []
    for source, named in sources:
        for name, recipe in from_texts(named):
            _say_recipe(source, name, recipe, said)


def _say_recipe(source: str, name: str, recipe: Recipe, said: Said) -> None:
    numbers: dict[str, Number] = {}
    parts = []
    if recipe.manner in _MANNERS:
        parts.append(_MANNERS[recipe.manner])
    if recipe.strength is not None:
        numbers["strength"] = round(recipe.strength, 3)
        parts.append(f"strength {round(recipe.strength, 3)}")
    if recipe.model:
        numbers["model"] = plain(recipe.model, 120)
        parts.append(f"model {numbers['model']}")
    if recipe.sampler:
        numbers["sampler"] = plain(recipe.sampler, 60)
        parts.append(f"sampler {numbers['sampler']}")
    if recipe.seed is not None:
        # As text: a seed may exceed what JSON readers hold exactly.
        numbers["seed"] = str(recipe.seed)
        parts.append(f"seed {recipe.seed}")
    text = f"{_place(source)} ({plain(name, 40)}) holds a recipe of {recipe.program} and says that the picture "
    text += _SAYS[recipe.says] + (f" ({'; '.join(parts)})." if parts else ".")
    if recipe.positive:
        shown, told = quoted(recipe.positive)
        text += f" Prompt: {shown}."
        numbers |= told
    if recipe.negative:
        shown, told = quoted(recipe.negative)
        text += f" Negative prompt: {shown}."
        numbers |= {f"negative_{key}": value for key, value in told.items()}
    said.claim_unsigned(
        source.replace(" ", "_"),
        recipe.says,
        f"{text} {_FORGEABLE}",
        numbers | {"text_name": plain(name, 40)},
        generator=recipe.program,
        prompt=recipe.positive or None,
        detail="; ".join(part for part in (recipe.manner, *parts) if part),
    )


def _place(source: str) -> str:
    return {
        "png_text": "A text chunk of the file",
        "exif": "EXIF",
        "iptc": "IPTC metadata",
        "xmp": "XMP metadata",
        "alpha channel": "A text hidden in the lowest bits of the transparency",
    }[source]


def _say_source_type(xmp: list[tuple[str, str]], maker: str | None, said: Said) -> None:
    for key, value in xmp:
        if key.lower() not in ("digitalsourcetype", "digitalsourcefiletype"):
            continue
        kind = source_type(value)
        if kind is None:
            said.find(
                f"XMP names a digital source type that IPTC does not know: {plain(value, 120)}.",
                {"value": plain(value, 120)},
            )
            continue
        name, says, meaning = kind
        counts = " A claim of capture that nobody signed counts nothing." if says == "camera" else f" {_FORGEABLE}"
        said.claim_unsigned(
            "iptc",
            says,
            f"The IPTC digital source type in XMP is {name}: {meaning}.{counts}",
            {"digital_source_type": name},
            generator=maker if says in ("generated", "composite") else None,
            detail=f"digital source type {name}",
        )


def _say_ai_properties(xmp: list[tuple[str, str]], said: Said) -> None:
    """IPTC 2025.1 names the system and the prompt."""
    told = dict(reversed([pair for pair in xmp if pair[0].startswith("AI")]))
    system = plain(told.get("AISystemUsed", ""), 120)
    prompt = told.get("AIPromptInformation", "")
    if not system and not prompt:
        return
    shown, numbers = quoted(prompt) if prompt else ("", {})
    text = f"The IPTC fields for generative AI are filled in: system {system or 'not named'}"
    said.claim_unsigned(
        "iptc",
        "generated",
        f"{text}{f', prompt {shown}' if shown else ''}. {_FORGEABLE}",
        numbers,
        generator=system or None,
        prompt=prompt or None,
        detail="IPTC AI system and prompt",
    )


def _say_credit(xmp: list[tuple[str, str]], iptc: dict[str, str], said: Said) -> None:
    credits = [("xmp", value) for key, value in xmp if key == "Credit"]
    credits += [("iptc", iptc["credit"])] if "credit" in iptc else []
    for source, credit in credits:
        if (says := credit_says(credit)) is not None:
            said.claim_unsigned(
                source,
                says,
                f"The credit line reads “{plain(credit, 120)}”. {_FORGEABLE}",
                {"credit": plain(credit, 120)},
                generator=generator_in(credit),
                detail=f"credit line {plain(credit, 120)}",
            )


def _software(
    metadata: Metadata, exif: Exif, xmp: list[tuple[str, str]], iptc: dict[str, str]
) -> list[tuple[str, str, str]]:
    """Source, name and value of every field that names software."""
    named = [("exif", key, value) for key, value in exif.fields.items() if key in _SOFTWARE_EXIF]
    named += [("xmp", key, value) for key, value in xmp if key in _SOFTWARE_XMP]
    named += [("iptc", key, value) for key, value in iptc.items() if key == "program"]
    named += [("png_text", key, value) for key, value in metadata.text.items() if key in _SOFTWARE_TEXT]
    # ComfyUI's WebP writer puts its graphs into Make and Model; those are read as recipes.
    return [each for each in named if not each[2].startswith(("prompt:", "workflow:"))]


def _say_software(named: list[tuple[str, str, str]], said: Said) -> None:
    # A recipe or a source type says more exactly how the model was used than the mere name of a program, so where one
    # has spoken the name is told and claims nothing more.
    spoken = any(
        claim.rank == "unsigned" and claim.says in ("generated", "composite", "edited") for claim in said.claims
    )
    edited: dict[str, tuple[str, str]] = {}
    for source, key, value in named:
        shown = plain(value, 120)
        if (maker := generator_in(value)) is not None:
            where = _field(source, key)
            text = f"The {where} names a program that makes pictures with a generative model, {maker}: “{shown}”."
            if spoken:
                said.find(text, {"generator": maker, "value": shown})
                continue
            # In an editing program's history a generator is one step among others.
            says: Says = "edited" if source == "xmp" and key == "softwareAgent" else "generated"
            said.claim_unsigned(
                source,
                says,
                f"{text} {_FORGEABLE}",
                {"value": shown},
                generator=maker,
                detail=f"{key}: {shown}",
            )
        elif (editor := editor_in(value)) is not None:
            edited.setdefault(editor, (_field(source, key), shown))
    for editor, (where, shown) in edited.items():
        said.find(
            f"The picture was processed with {editor} ({where}: “{shown}”). Editing software is not a sign of a "
            "generative model.",
            {"editor": editor, "value": shown},
        )


def _field(source: str, key: str) -> str:
    return {"exif": "EXIF", "xmp": "XMP", "iptc": "IPTC", "png_text": "text"}[source] + f" field {key}"


def _say_camera(exif: Exif, said: Said) -> None:
    make, model = exif.fields.get("Make", ""), exif.fields.get("Model", "")
    maker = model if make and model.startswith(make) else f"{make} {model}".strip()
    if not maker or generator_in(maker) is not None or maker.startswith(("prompt:", "workflow:")):
        return
    shown = plain(maker, 120)
    settings = [key for key in ("ExposureTime", "FNumber", "ISO", "FocalLength", "LensModel") if key in exif.fields]
    taken = plain(exif.fields.get("DateTimeOriginal", ""), 40)
    when = f", taken {taken}" if taken else ""
    said.claim_unsigned(
        "exif",
        "camera",
        f"EXIF names a camera, {shown}{when}, with {len(settings)} of its exposure settings. That counts nothing: "
        "EXIF is easily copied or written into any picture, and most platforms remove it.",
        {"camera": shown, "taken": taken or None, "settings": len(settings)},
        detail=f"camera {shown}",
    )
