"""Walks a validated C2PA manifest store: what the active manifest claims, and what its ingredients claim.

An ingredient's claim ranks no higher than the manifest that vouches for it, and no higher than its own signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.contract import Claim, ClaimRank
from tools.provenance.credentials import Store
from tools.provenance.vocabulary import Says, generator_in, plain, source_type

SAYS_NOTHING = "the manifest does not say how the picture was made"
MAX_DEPTH = 8
MAX_MANIFESTS = 64
_MAX_ITEMS = 400

_RANKS: dict[str, ClaimRank] = {"Trusted": "trusted", "Valid": "valid_unknown_signer"}
_ORDER: tuple[ClaimRank, ...] = ("invalid", "valid_unknown_signer", "trusted")
# Actions that bring the whole picture into being or pass it on; a trained model named in any other action had a hand
# in an edit.
_WHOLE = {"created", "opened", "converted", "transcoded", "repackaged", "published", "produced", "watermarked", ""}


@dataclass(frozen=True)
class Manifest:
    """One manifest of the store, as far as it speaks of making.

    Attributes:
        relation: How it belongs to the picture: `parentOf`, `componentOf`, `inputTo`; empty for the active manifest.
        sole: An ingredient whose parent has no other source: no other ingredient and no action of its own.
        signer: Organisation and common name of the certificate; None where it has neither.
        authority: Who issued the certificate.
        signed_at: Time of the time stamp, ISO 8601.
        actions: Short names of its recorded actions, in order, without repetition.
        claims: What it says.
    """

    label: str
    depth: int
    relation: str
    sole: bool
    rank: ClaimRank
    signer: str | None
    authority: str | None
    generator: str | None
    signed_at: str | None
    actions: tuple[str, ...]
    claims: tuple[Claim, ...]


def walk(store: Store) -> tuple[list[Manifest], bool]:
    """The manifests of `store`, the active one first, and whether the walk was cut short by its bounds."""
    manifests: dict[str, Any] = store.report["manifests"]
    found: list[Manifest] = []
    seen: set[str] = set()
    waiting = [(store.active, 0, "", False, _RANKS.get(store.state, "invalid"))]
    cut = False
    while waiting:
        label, depth, relation, sole, rank = waiting.pop(0)
        raw = manifests.get(label)
        if label in seen or not isinstance(raw, dict):
            continue
        if depth > MAX_DEPTH or len(found) >= MAX_MANIFESTS:
            cut = True
            continue
        seen.add(label)
        manifest = _read(store, label, raw, depth, relation, sole, rank)
        found.append(manifest)
        ingredients = [item for item in _list(raw.get("ingredients")) if isinstance(item, dict)]
        alone = len(ingredients) == 1 and not set(manifest.actions) - {"opened", "converted", "published"}
        for item in ingredients:
            below = str(item.get("active_manifest") or "")
            kind = str(item.get("relationship") or "componentOf")
            # What lies under a mere component, or under an input, is itself no more than that.
            part = relation in ("componentOf", "inputTo") and not sole
            own = min(rank, _standing(store, below, item), key=_ORDER.index)
            waiting.append((below, depth + 1, relation if part else kind, alone and not part, own))
    return found, cut


def _standing(store: Store, label: str, ingredient: dict[str, Any]) -> ClaimRank:
    """How an ingredient's own signature stands: what was recorded when it was taken in, as corrected by this check.

    The library reports for ingredients only what differs from the recorded results, so both must be read.
    """
    results = store.report.get("validation_results") or {}
    now: dict[str, set[str]] = {"success": set(), "failure": set()}
    for delta in _list(results.get("ingredientDeltas")):
        for kind, codes in now.items():
            entries = _list((delta.get("validationDeltas") or {}).get(kind))
            codes |= {str(entry.get("code")) for entry in entries if label in str(entry.get("url"))}
    recorded = (ingredient.get("validation_results") or {}).get("activeManifest") or {}
    before = {kind: {str(entry.get("code")) for entry in _list(recorded.get(kind))} for kind in ("success", "failure")}
    # Ingredients of older manifests record their faults in another place.
    before["failure"] |= {str(entry.get("code")) for entry in _list(ingredient.get("validation_status"))}
    untrusted = "signingCredential.untrusted"
    if (before["failure"] | now["failure"]) - {untrusted, "timeStamp.untrusted"}:
        return "invalid"
    trusted = "signingCredential.trusted"
    if trusted in now["success"] or (trusted in before["success"] and untrusted not in now["failure"]):
        return "trusted"
    return "valid_unknown_signer"


def _read(
    store: Store, label: str, raw: dict[str, Any], depth: int, relation: str, sole: bool, rank: ClaimRank
) -> Manifest:
    signature = raw.get("signature_info") or {}
    generator = _generator(raw)
    signer = _signer(signature.get("issuer"), signature.get("common_name"))
    issuer = (store.certificates.get(label) or {}).get("issuer") or {}
    assertions = [item for item in _list(raw.get("assertions")) if isinstance(item, dict)]
    names = [action for action, _, _ in _actions(assertions)]
    statements = [
        Claim(
            source="c2pa",
            says=_as_ingredient(says, relation, sole),
            rank=rank,
            depth=depth,
            signer=signer,
            generator=agent or generator,
            detail=detail,
        )
        for says, agent, detail in _statements(assertions)
    ]
    if not statements and depth == 0:
        silent = Claim(source="c2pa", says="other", rank=rank, signer=signer, generator=generator, detail=SAYS_NOTHING)
        statements = [silent]
    return Manifest(
        label=label,
        depth=depth,
        relation=relation,
        sole=sole,
        rank=rank,
        signer=signer,
        authority=_signer(issuer.get("O"), issuer.get("CN")),
        generator=generator,
        signed_at=plain(signature["time"], 40) if signature.get("time") else None,
        actions=tuple(dict.fromkeys(names)),
        claims=tuple(dict.fromkeys(statements)),
    )


def _as_ingredient(says: Says, relation: str, sole: bool) -> Says:
    """What a claim about an ingredient means for the picture it is part of."""
    if relation in ("", "parentOf") or (relation == "componentOf" and sole):
        return says
    if relation == "componentOf" and says in ("generated", "edited"):
        return "composite"  # a generated part in another picture
    if says == "composite":
        return says
    return "other"  # a camera's picture somewhere inside says nothing of the whole; an input need not be visible


def _statements(assertions: list[dict[str, Any]]) -> Iterator[tuple[Says, str | None, str]]:
    """What the assertions of one manifest say: the claim, the software agent, and in which words."""
    for action, agent, kind in _actions(assertions):
        maker = generator_in(agent) if agent else None
        if kind is not None:
            name, says, meaning = kind
            yield _by_action(says, action), agent, f"action {action}, digital source type {name}: {meaning}"
        elif maker is not None and action == "created":
            yield "generated", agent, f"action {action} by {maker}, no digital source type"
        elif maker is not None and action not in _WHOLE:
            yield "edited", agent, f"action {action} by {maker}, no digital source type"
    for assertion in assertions:
        label = plain(assertion.get("label"), 60)
        if label.startswith("c2pa.actions"):
            continue
        for name, says, meaning in _source_types(assertion.get("data")):
            yield says, None, f"assertion {label}, digital source type {name}: {meaning}"


def _by_action(says: Says, action: str) -> Says:
    if says == "generated" and action not in _WHOLE:
        return "composite" if action == "placed" else "edited"
    if says == "camera" and action not in ("created", "captured"):
        return "other"
    return says


def _actions(assertions: list[dict[str, Any]]) -> Iterator[tuple[str, str | None, tuple[str, Says, str] | None]]:
    """Short name, software agent and digital source type of each recorded action, of either version."""
    for assertion in assertions:
        data = assertion.get("data")
        if not str(assertion.get("label")).startswith("c2pa.actions") or not isinstance(data, dict):
            continue
        agents = _list(data.get("softwareAgents"))
        for action in _list(data.get("actions")):
            if not isinstance(action, dict):
                continue
            agent = action.get("softwareAgent")
            index = action.get("softwareAgentIndex")
            if agent is None and isinstance(index, int) and 0 <= index < len(agents):
                agent = agents[index]
            kind = next(_source_types(action), None)
            yield plain(action.get("action"), 60).removeprefix("c2pa."), _agent(agent), kind


def _source_types(data: object) -> Iterator[tuple[str, Says, str]]:
    """Digital source types under any key that ends in `digitalSourceType`, wherever they stand in `data`."""
    waiting: list[object] = [data]
    for _ in range(_MAX_ITEMS):
        if not waiting:
            return
        item = waiting.pop(0)
        if isinstance(item, dict):
            for key, value in item.items():
                named = str(key).lower().replace("_", "").endswith("digitalsourcetype")
                values = (
                    [value.get("@id")] if isinstance(value, dict) else value if isinstance(value, list) else [value]
                )
                for candidate in values if named else ():
                    if (kind := source_type(candidate)) is not None:
                        yield kind
            waiting.extend(value for value in item.values() if isinstance(value, dict | list))
        elif isinstance(item, list):
            waiting.extend(value for value in item[:_MAX_ITEMS] if isinstance(value, dict | list))


def _generator(raw: dict[str, Any]) -> str | None:
    for entry in _list(raw.get("claim_generator_info")):
        if (named := _agent(entry)) is not None:
            return named
    text = raw.get("claim_generator")
    return plain(text, 120) if text else None


def _agent(agent: object) -> str | None:
    """Name and version of a software agent, which is a text or a map."""
    if isinstance(agent, dict):
        parts = [agent.get("name"), agent.get("version")]
        agent = " ".join(str(part) for part in parts if isinstance(part, str) and part)
    return plain(agent, 120) if isinstance(agent, str) and agent.strip() else None


def _signer(organisation: object, common: object) -> str | None:
    names = [plain(name, 100) for name in (organisation, common) if isinstance(name, str) and name.strip()]
    if len(names) == 2 and names[0] != names[1]:
        return f"{names[0]} ({names[1]})"
    return names[0] if names else None


def _list(value: object) -> list[Any]:
    return value[:_MAX_ITEMS] if isinstance(value, list) else []
