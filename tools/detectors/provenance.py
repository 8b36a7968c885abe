"""The `provenance` detector: signatures, metadata and generators' recipes in the file's bytes.

It sees no pixels, but for the lowest bit of an alpha channel, where some generators hide their recipe.
"""

from __future__ import annotations

from tools.contract import Budget, Claim, Evidence, Tool, detector
from tools.image import SourceImage
from tools.provenance.containers import read_metadata
from tools.provenance.credentials import read_store
from tools.provenance.said import Said
from tools.provenance.signed import say_signed
from tools.provenance.stealth import hidden_text
from tools.provenance.trust import trust_list
from tools.provenance.unsigned import say_unsigned

LIMITS = (
    "A missing manifest means unknown provenance, nothing more.",
    "Most platforms and messengers strip metadata and manifests, so their absence is no sign of anything.",
    "Metadata that is not signed can be written, copied and removed by anyone.",
    "A signature vouches for who signed and that nothing changed since, not that what was signed is true.",
    "Nothing was fetched: remote manifests were not read and certificates were not checked for revocation.",
    "A certificate without a trusted time stamp is judged on the day of the check: when it expires, the state changes.",
)


@detector(name="provenance", version="1.0.0", target="generated", cost=2)
def provenance(tool: Tool, image: SourceImage, budget: Budget) -> Evidence:
    """Reads what the file says of its own making: C2PA signatures, EXIF, IPTC, XMP, generators' recipes.

    The score is no probability: 1 where a claim that counts says that a generative model made the picture, 0.5 where
    it made a part or altered it, 0 where a trusted signature says camera capture and nothing speaks of a model; else
    the tool abstains. Fusion goes by the claims and their ranks.
    """
    said = Said()
    trust = trust_list()
    say_signed(read_store(image.data, image.format, trust), trust, said)
    hidden = hidden_text(image.data, image.mode, image.width * image.height)
    say_unsigned(read_metadata(image.data, image.format), hidden, said)
    fields = {
        "findings": tuple(said.findings),
        "claims": tuple(said.claims),
        "measurements": said.measurements,
        "limits": LIMITS,
    }
    score = _score(said.claims)
    if score is None:
        return tool.abstain(_because(said), **fields)
    return tool.evidence(score=score, **fields)


def _score(claims: list[Claim]) -> float | None:
    counting = {claim.says for claim in claims if claim.rank != "invalid"}
    if "generated" in counting:
        return 1.0
    if counting & {"composite", "edited"}:
        return 0.5
    # An ingredient that a camera took says nothing of what was done since.
    captured = any(claim.says == "camera" and claim.rank == "trusted" and claim.depth == 0 for claim in claims)
    return 0.0 if captured else None


def _because(said: Said) -> str:
    if not said.claims and not said.findings:
        return "No provenance: the file carries no C2PA manifest, no generator's recipe and no camera metadata."
    if any(claim.rank == "invalid" for claim in said.claims):
        return "No provenance that counts: the C2PA manifest does not hold, and nothing else speaks of a model."
    return "No provenance that counts: nothing speaks of a generative model, and no trusted signature of a capture."
