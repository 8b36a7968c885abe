"""What each tool might say of a picture: findings worded as `tools.detectors` words them, with numbers drawn at random.

`stranger` speaks for tools that do not exist, so that a model learns to copy what a line says and not to recite what a
tool usually says. `finetune.cases` puts cases together from them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.stability import STEP, WORDS
from tools.contract import Claim, Evidence, Finding, Region

Rng = np.random.Generator
_OTHERS = (
    ("shadows", "generated"), ("lens", "generated"), ("palette", "generated"), ("eyes", "generated"),
    ("demosaicing", "generated"), ("perspective", "edited"), ("halo", "edited"), ("reflections", "edited"),
    ("noise_map", "edited"), ("hands", "generated"), ("skin", "generated"), ("seams", "edited"),
)  # fmt: skip
_THINGS = (
    "edges", "lines", "tiles", "patches", "outlines", "highlights", "corners", "strokes", "gradients", "stripes",
)  # fmt: skip
_DOES = (
    "meet at angles that differ by {a} degrees", "repeat every {n} px", "are {x} times sharper than their surroundings",
    "carry a residual of {x} grey levels", "match a copy in {n} points", "lie {n} px apart", "are lost below {n} px",
    "lean {a} degrees away from the light", "hold {p} % of the energy",
)  # fmt: skip
_OTHERS_HELD = (
    ("horizon", "generated"), ("teeth", "generated"), ("moire", "generated"), ("depth", "edited"), ("border", "edited"),
    ("text_layout", "generated"),
)  # fmt: skip
_THINGS_HELD = ("windows", "fingers", "columns", "leaves", "letters", "rings")


def _region(rng: Rng) -> Region:
    cell = int(rng.integers(9))
    row, column = divmod(cell, 3)
    x, y = (column + rng.uniform(0.1, 0.5)) / 3, (row + rng.uniform(0.1, 0.5)) / 3
    return Region(x0=round(x, 4), y0=round(y, 4), x1=round(x + 0.12, 4), y1=round(y + 0.14, 4))


def score_of(lean: int, rng: Rng) -> float:
    """A score (0-1) that leans as asked: 1 towards the claim, 0 neither way, -1 against it."""
    return round(float({1: rng.uniform(0.62, 0.99), 0: rng.uniform(0.4, 0.62), -1: rng.uniform(0.02, 0.4)}[lean]), 2)


def _frequency(lean: int, rng: Rng) -> list[Finding]:
    period, sigmas = int(rng.choice([2, 4, 8, 16, 32])), round(float(rng.uniform(4.5, 22)), 1)
    fine, more = round(float(rng.uniform(2, 65)), 2), int(rng.integers(0, 100))
    slope, flat, count = -round(float(rng.uniform(0.4, 2.9)), 2), int(rng.integers(0, 100)), int(rng.integers(90, 400))
    fall = Finding(
        text=f"Detail finer than 0.35 cycles per px holds {fine} % of the energy; of {count} photographs of similar "
        f"JPEG quality {more} % hold more. The spectrum falls with a slope of {slope}; {flat} % of them fall more "
        "gently.",
        numbers={"fine_energy_pct": fine, "photographs": count, "hold_more_pct": more, "slope": slope},
    )
    numbers: dict[str, Any] = {"period_px": period, "sigmas": sigmas}
    if lean > 0 and rng.random() < 0.5:
        text = (
            f"A faint pattern repeats every {period} px both horizontally and vertically, {sigmas} standard deviations "
            "above chance; decoders that build a picture by repeated doubling leave such patterns."
        )
    else:
        way = str(rng.choice(["horizontally", "vertically", "diagonally"]))
        ends = (
            "such a whole stride is typical of upsampling in a generator, and of enlarging by a whole factor."
            if lean > 0
            else "rescaling leaves such patterns, and so do real textures, screens and scanned prints."
        )
        text = f"A pattern repeats every {period} px {way}, {sigmas} standard deviations above its surroundings; {ends}"
    if lean > 0:
        grade = "moderate" if sigmas >= 8 else "weak"
        return [Finding(text=text, polarity="generated", severity=grade, numbers=numbers), fall]
    return [Finding(text=text, numbers=numbers), fall] if rng.random() < 0.3 else [fall]


def _inversion(lean: int, rng: Rng) -> list[Finding]:
    tiles, error, score = int(rng.integers(1, 25)), round(float(rng.uniform(0.4, 9)), 2), score_of(lean, rng)
    head = (
        f"A small model of photographs reconstructs {tiles} {'tile' if tiles == 1 else 'tiles'} with a mean error of "
        f"{error} grey levels; the pattern of the errors (score {score}) "
    )
    numbers: dict[str, Any] = {"tiles": tiles, "mean_error": error, "score": score, "level_percent": 90}
    ends = {
        1: "lies above the level that 90 % of photographs held out in training stay under. This is a weak sign.",
        -1: "lies under the level that 90 % of generated pictures held out in training stay above.",
        0: "leans neither way.",
    }
    found = [_leaning(head + ends[lean], lean, numbers, "weak")]
    if rng.random() < 0.4:
        place, tile = _region(rng), score_of(1, rng)
        text = (
            f"The tile at the {place.place} stands out from the others tried: tile score {tile}, mean error {error} "
            "grey levels."
        )
        numbers = {"tile_score": tile, "mean_error": error}
        found.append(Finding(text=text, polarity="generated", severity="weak", region=place, numbers=numbers))
    return found


def _patch(lean: int, rng: Rng) -> list[Finding]:
    tiles, score = int(rng.integers(2, 97)), score_of(lean, rng)
    alike = int(rng.integers(0, tiles + 1))
    head = f"{alike} of {tiles} tiles {'lies' if alike == 1 else 'lie'} above the level that 90 % of photographs held "
    head += "out in training stay under"
    ends = {
        1: f"; so does the mean (score {score}): the texture is closer to generated pictures. This is a weak sign.",
        -1: f"; the mean (score {score}) lies under the level that as many generated pictures stay above: the texture "
        "is closer to photographs.",
        0: f"; the mean (score {score}) leans neither way.",
    }
    numbers: dict[str, Any] = {"tiles_above_level": alike, "tiles": tiles, "level_percent": 90, "score": score}
    found = [_leaning(head + ends[lean], lean, numbers, "weak")]
    if rng.random() < 0.4:
        place, tile = _region(rng), score_of(1, rng)
        text = (
            f"The tile at the {place.place} stands out from the rest: its texture is furthest from that of photographs "
            f"in training (tile score {tile})."
        )
        found.append(
            Finding(text=text, polarity="generated", severity="weak", region=place, numbers={"tile_score": tile})
        )
    return found


def _semantic(lean: int, rng: Rng) -> list[Finding]:
    tiles, score = int(rng.integers(2, 20)), score_of(lean, rng)
    alike = int(rng.integers(0, tiles + 1))
    head = f"To the middle of an image encoder, {alike} of {tiles} tiles {'looks' if alike == 1 else 'look'} more like "
    head += "generated pictures than 90 % of photographs held out in training"
    ends = {
        1: f", and so does their mean (score {score}). This is a sign, not a proof.",
        -1: f"; the mean (score {score}) lies where photographs lie and few generated pictures do.",
        0: f"; the mean (score {score}) leans neither way.",
    }
    numbers: dict[str, Any] = {"tiles_above_level": alike, "tiles": tiles, "level_percent": 90, "score": score}
    return [_leaning(head + ends[lean], lean, numbers, "moderate")]


def _inversion_sd(lean: int, rng: Rng) -> list[Finding]:
    tiles, grey, unlike = int(rng.integers(1, 9)), round(float(rng.uniform(1, 14)), 2), round(float(rng.random()), 3)
    text = (
        f"{tiles} {'tile comes' if tiles == 1 else 'tiles come'} back from the nearest autoencoder with a distance of "
        f"{grey} grey levels (root mean square) and a structural dissimilarity of {unlike}. Smooth pictures come back "
        "nearer than textured ones, whoever made them."
    )
    numbers: dict[str, Any] = {"tiles": tiles, "distance": grey, "dissimilarity": unlike}
    score = score_of(lean, rng)
    ends = {
        1: "above the level that 90 % of photographs stay under. This is a weak sign.",
        -1: "under the level that 90 % of generated pictures stay above. This is a weak sign.",
        0: "where both kinds lie.",
    }
    told = _leaning(f"What the inversion gives (score {score}) lies {ends[lean]}", lean, {"score": score}, "weak")
    return [Finding(text=text, numbers=numbers), told]


def _splice(lean: int, rng: Rng) -> list[Finding]:
    score, share = score_of(lean, rng), round(float(rng.uniform(0.5, 30)), 1)
    if lean <= 0:
        text = (
            f"No part stands out from the rest more than in untouched photographs (score {score}). An alteration that "
            "was made with care, or saved again at low quality, would not be seen."
        )
        return [Finding(text=text, numbers={"score": score})]
    place, mark = _region(rng), round(float(rng.uniform(0.7, 1)), 2)
    text = (
        f"Parts of the picture differ in their making more than in 90 % of untouched photographs held out in training "
        f"(score {score}; {share} % of what was read is marked). This is a weak sign that the picture was altered in "
        "part."
    )
    numbers: dict[str, Any] = {"score": score, "level_percent": 90, "marked_percent": share}
    found = [Finding(text=text, polarity="edited", severity="weak", numbers=numbers)]
    text = f"The part at the {place.place} is marked as made otherwise (highest mark {mark})."
    found.append(Finding(text=text, polarity="edited", severity="weak", region=place, numbers={"highest_mark": mark}))
    return found


def _vision(lean: int, rng: Rng) -> list[Finding]:
    found = []
    kinds = ["over-smooth texture", "broken lettering", "warped lines", "coarse lattice", "colour fringes"]
    for _ in range(int(rng.integers(1, 3)) if lean > 0 else 0):
        place = _region(rng)
        kind, grade = str(rng.choice(kinds)), str(rng.choice(["weak", "moderate", "strong"]))
        text = f"The vision model reports {kind} at the {place.place} (the whole picture)."
        found.append(
            Finding.model_validate({"text": text, "polarity": "generated", "severity": grade, "region": place})
        )
    return found or [Finding(text="The vision model reports no visible sign of generation in any view.")]


def _leaning(text: str, lean: int, numbers: dict[str, Any], grade: str) -> Finding:
    if lean > 0:
        return Finding.model_validate({"text": text, "polarity": "generated", "severity": grade, "numbers": numbers})
    return Finding(text=text, polarity="camera" if lean < 0 else "neutral", numbers=numbers)


TOOLS: dict[str, tuple[str, Callable[[int, Rng], list[Finding]]]] = {
    "frequency": ("generated", _frequency), "inversion": ("generated", _inversion), "patch": ("generated", _patch),
    "semantic": ("generated", _semantic), "inversion_sd": ("generated", _inversion_sd), "splice": ("edited", _splice),
    "vision": ("generated", _vision),
}  # fmt: skip


def compression(rng: Rng) -> Evidence:
    """What `compression` says of a file: context, no score."""
    quality, first, shift = int(rng.integers(30, 99)), int(rng.integers(30, 95)), int(rng.integers(1, 8))
    text = str(
        rng.choice(
            [
                f"The file is a JPEG saved at quality {quality} with the standard tables (baseline, chroma 4:2:0).",
                "The pixels of the PNG file show no trace of an earlier JPEG compression.",
                f"The PNG file holds pixels that were a JPEG before, of a quality near {quality}; the grid of blocks "
                f"starts {shift} px from the left.",
                f"The picture was a JPEG of a quality near {first} before it was saved at {quality}: it was saved "
                "twice.",
            ]
        )
    )
    return Evidence(
        id="compression", detector="compression", version="1.0", target="context", findings=(Finding(text=text),),
        abstained_because="This tool describes the file and does not judge.",
        measurements={"jpeg_quality": quality},
    )  # fmt: skip


def stability(rng: Rng) -> Evidence:
    """What second looks at degraded copies showed."""
    every = list(WORDS.values())
    seen = [every[index] for index in sorted(rng.permutation(3)[: int(rng.integers(1, 4))])]
    against = [each for each in seen if rng.random() < 0.25]
    text = f"The picture was looked at again {_and(seen)}: "
    text += f"the evidence points the other way {_and(against)}." if against else _STEADY
    finding = Finding(text=text, severity="moderate" if against else "info")
    return Evidence(
        id=STEP, detector=STEP, version="1", target="context", findings=(finding,), blind=False,
        abstained_because="It tells how steady the other evidence is, and judges nothing itself.",
    )  # fmt: skip


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_STEADY = "the evidence points the same way each time."
_SIGNERS = ("Leica Camera AG", "Adobe Inc.", "Nikon Corporation", "Truepic Inc.", "OpenAI", "Google LLC", "Sony Corp.")
_MAKERS = ("AUTOMATIC1111 or a fork of it", "ComfyUI", "InvokeAI", "NovelAI", "Midjourney", "DALL-E 3", "Fooocus")


def provenance(rng: Rng, trusted: str | None) -> tuple[Evidence, float]:
    """Statements of origin and the decibans that they weigh; `trusted` is what a trusted signature says."""
    fields: dict[str, Any] = {"id": "provenance", "detector": "provenance", "version": "1.0.0", "target": "generated"}
    if trusted is not None:
        signer = str(rng.choice(_SIGNERS))
        says = {
            "camera": "captured by a camera", "generated": "made by a generative model", "edited": "altered with AI",
        }[trusted]  # fmt: skip
        text = f"The manifest, signed by {signer}, says that the picture was {says}. The signer is on the trust list."
        finding = Finding(
            text=text, polarity=trusted if trusted != "camera" else "camera", severity="strong",
            numbers={"signer": signer},
        )  # fmt: skip
        claim = Claim(source="c2pa", says=trusted, rank="trusted", signer=signer)
        score = 0.0 if trusted == "camera" else 1.0
        return Evidence(score=score, findings=(finding,), claims=(claim,), **fields), 30.0
    if rng.random() < 0.55:
        why = "No provenance: the file carries no C2PA manifest, no generator's recipe and no camera metadata."
        return Evidence(abstained_because=why, **fields), 0.0
    maker = str(rng.choice(_MAKERS))
    if rng.random() < 0.6:
        text = (
            f"A text chunk of the file (parameters) holds a recipe of {maker} and says that the picture was made by a "
            "generative model. Nobody signed this, and anyone can write it."
        )
        claim, weight = Claim(source="png_text", says="generated", rank="unsigned", generator=maker), 13.0
    else:
        signer = f"{rng.choice(['Pixel', 'Studio', 'Photo', 'Image'])} {rng.choice(['Labs', 'Works', 'Trust'])}"
        text = (
            f"The manifest, signed by {signer}, says that the picture was made by a generative model, made with "
            f"{maker}. The signer is not on the trust list, and anyone can sign."
        )
        claim = Claim(source="c2pa", says="generated", rank="valid_unknown_signer", signer=signer, generator=maker)
        weight = 17.0
    finding = Finding(text=text, polarity="generated", severity="strong", numbers={"generator": maker})
    return Evidence(score=1.0, findings=(finding,), claims=(claim,), **fields), weight


def stranger(rng: Rng, held: bool) -> tuple[Evidence, int]:
    """Evidence of a tool that does not exist."""
    others, things = (_OTHERS_HELD, _THINGS_HELD) if held else (_OTHERS, _THINGS)
    name, target = others[int(rng.integers(len(others)))]
    lean = int(rng.choice([1, 0, -1]))
    values: dict[str, Any] = {
        "a": int(rng.integers(2, 88)), "n": int(rng.integers(2, 60)), "x": round(float(rng.uniform(0.2, 9.9)), 2),
        "p": round(float(rng.uniform(1, 99)), 1),
    }  # fmt: skip
    count = int(rng.integers(2, 40))
    does = str(rng.choice(_DOES))
    place = _region(rng) if rng.random() < 0.5 else None
    at = f" at the {place.place}" if place is not None else ""
    thing = str(rng.choice(things))
    text = f"{count} {thing}{at} {does.format(**values)}."
    text = text if rng.random() < 0.7 else f"In this picture {text[0].lower()}{text[1:]} This is a weak sign."
    numbers = {"count": count} | {key: value for key, value in values.items() if "{" + key + "}" in does}
    polarity = target if lean > 0 else "camera" if lean < 0 else "neutral"
    grade = str(rng.choice(["weak", "moderate"])) if lean > 0 else "info"
    finding = Finding.model_validate(
        {"text": text, "polarity": polarity, "severity": grade, "region": place, "numbers": numbers}
    )
    return (
        Evidence.model_validate(
            {"id": name, "detector": name, "version": "1", "target": target, "score": score_of(lean, rng)}
            | {"findings": (finding,)}
        ),
        lean,
    )
