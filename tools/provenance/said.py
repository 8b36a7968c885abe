"""What one reader of provenance has to say: claims, findings and measurements, gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tools.contract import Claim, Finding, Number, Polarity, Severity
from tools.provenance.vocabulary import QUOTE, Says, plain


@dataclass
class Said:
    """Gathers claims, findings and measurements; readers add to it, the detector makes evidence of it."""

    claims: list[Claim] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    measurements: dict[str, Number] = field(default_factory=dict)

    def find(
        self,
        text: str,
        numbers: Mapping[str, Number | None] = MappingProxyType({}),
        *,
        polarity: Polarity = "neutral",
        severity: Severity = "info",
    ) -> None:
        """Adds a finding; a number that is None is left out, and so is a finding that was already made."""
        told = {name: value for name, value in numbers.items() if value is not None}
        finding = Finding(text=text, polarity=polarity, severity=severity, numbers=told)
        if finding not in self.findings:
            self.findings.append(finding)

    def claim_unsigned(
        self,
        source: str,
        says: Says,
        sentence: str,
        numbers: Mapping[str, Number | None] = MappingProxyType({}),
        *,
        generator: str | None = None,
        prompt: str | None = None,
        detail: str = "",
    ) -> None:
        """Adds a claim of metadata that nobody signed, with the finding that tells it."""
        claim = Claim(
            source=source,
            says=says,
            rank="unsigned",
            generator=generator,
            prompt=None if prompt is None else plain(prompt, 2000),
            detail=detail,
        )
        if claim in self.claims:
            return
        self.claims.append(claim)
        polarity, severity = voice(claim)
        told = {"source": source, "generator": generator, **numbers}
        self.find(sentence, told, polarity=polarity, severity=severity)


def voice(claim: Claim) -> tuple[Polarity, Severity]:
    """What a claim speaks for and how loudly, by its rank.

    An invalid claim speaks for nothing; a claim of capture speaks only where the signer is trusted; unsigned metadata
    is forgeable but seldom forged, so a claim of AI in it is strong and never decisive.
    """
    if claim.rank == "invalid" or claim.says == "other" or (claim.says == "camera" and claim.rank != "trusted"):
        return "neutral", "info"
    polarity: Polarity = "edited" if claim.says == "composite" else claim.says
    return polarity, "moderate" if claim.rank == "valid_unknown_signer" else "strong"


def quoted(prompt: str) -> tuple[str, dict[str, Number]]:
    """A prompt as a finding quotes it, and the numbers that go with the quotation.

    The quotation is cut to `QUOTE` characters and says so.
    """
    line = plain(prompt, 20_000)
    if len(line) <= QUOTE:
        return f"“{line}”", {"prompt": line}
    shown = plain(prompt)
    return (
        f"“{shown}” (the first {QUOTE} of {len(line)} characters)",
        {"prompt": shown, "characters_quoted": QUOTE, "characters": len(line)},
    )
