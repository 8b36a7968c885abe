"""Says in sentences what a C2PA manifest store claims, who signed it and what that counts."""

from __future__ import annotations

from tools.contract import Claim
from tools.provenance.credentials import Store, library_version
from tools.provenance.manifests import SAYS_NOTHING, Manifest, walk
from tools.provenance.said import Said, voice
from tools.provenance.trust import TrustList
from tools.provenance.vocabulary import plain

_RELATIONS = {
    "parentOf": "the picture it was made from",
    "componentOf": "a part that was placed in it",
    "inputTo": "an input to its making",
}


def say_signed(store: Store, trust: TrustList, said: Said) -> None:
    """Adds what `store` has to say to `said`."""
    said.measurements |= {
        "c2pa_state": store.state,
        "c2pa_library": library_version(),
        "trust_list": trust.name,
        "trust_list_anchors": trust.anchors,
        "trust_list_time_stamp_anchors": trust.time_stamp_anchors,
        "trust_list_sha256": trust.sha256,
    }
    if store.state == "none":
        return
    if store.state == "remote":
        said.find(
            "The file points to a C2PA manifest that lies elsewhere. It was not fetched, because nothing is fetched "
            f"while a picture is examined: {plain(store.why)}.",
            {"address": plain(store.why)},
        )
        return
    if store.state == "unreadable":
        said.find(
            f"The file carries the bytes of a C2PA manifest that cannot be read ({plain(store.why)}). "
            "It decides nothing.",
            {"reason": plain(store.why)},
        )
        return
    manifests, cut = walk(store)
    if not manifests:
        said.find("The file carries a C2PA manifest store that holds no active manifest. It decides nothing.")
        return
    active = manifests[0]
    said.measurements |= {
        "c2pa_codes": ", ".join(store.codes)[:1000],
        "c2pa_time_stamp": store.time_stamp,
        "c2pa_manifests": len(manifests),
        "c2pa_signer": active.signer or "not named",
        "c2pa_generator": active.generator or "not named",
    }
    _say_state(store, active, trust, said)
    for manifest in manifests:
        for claim in manifest.claims:
            said.claims.append(claim)
            _say_claim(manifest, claim, said)
    if cut:
        said.find(
            f"The manifest store has more ingredients than are walked; the first {len(manifests)} manifests were read.",
            {"manifests": len(manifests)},
        )


def _say_state(store: Store, active: Manifest, trust: TrustList, said: Said) -> None:
    signer = active.signer or "a signer who is not named"
    by = f"{signer}, certificate issued by {active.authority}" if active.authority else signer
    tool = f" It was written by {active.generator}." if active.generator else ""
    when = _when(store, active)
    named = f'the trust list "{trust.name}" ({trust.anchors} anchors)'
    if store.state == "Trusted":
        text = f"The file carries an intact C2PA manifest whose signer descends from {named}: {by}.{tool}{when}"
    elif store.state == "Valid":
        text = (
            f"The file carries an intact C2PA manifest, but its signer is not on {named}, so who signed is not known. "
            f"The certificate names {by}; anyone can make a certificate that says so.{tool}{when}"
        )
    else:
        faults = "; ".join(dict.fromkeys(fault.sentence for fault in store.faults))
        said.measurements["c2pa_problem"] = ", ".join(dict.fromkeys(fault.problem for fault in store.faults))
        text = (
            "The file carries a C2PA manifest that does not hold, so it decides nothing: "
            f"{faults or 'the library gives no reason'}. The certificate names {by}.{tool}{when}"
        )
    said.find(
        text,
        {
            "state": store.state,
            "signer": active.signer,
            "authority": active.authority,
            "generator": active.generator,
            "signed_at": active.signed_at,
            "trust_list": trust.name,
            "anchors": trust.anchors,
            "faults": plain("; ".join(f"{each.code} at {each.where}: {each.words}" for each in store.faults), 1000)
            or None,
        },
    )


def _when(store: Store, active: Manifest) -> str:
    if active.signed_at is None:
        return " No time stamp that holds says when it was signed."
    vouched = {
        "trusted": "by an authority on the list",
        "legacy": "accepted under the rules for old time stamps, which do not hold its authority against the list",
        "untrusted": "by an authority that is not on the list",
        "none": "which could not be checked",
    }[store.time_stamp]
    return f" Its time stamp says {active.signed_at} ({vouched})."


def _say_claim(manifest: Manifest, claim: Claim, said: Said) -> None:
    polarity, severity = voice(claim)
    if manifest.depth == 0:
        subject = "The C2PA manifest"
    else:
        what = "its only source" if manifest.sole else _RELATIONS.get(manifest.relation, "an ingredient")
        levels = "level" if manifest.depth == 1 else "levels"
        subject = f"An ingredient {manifest.depth} {levels} down ({what}), signed by {claim.signer or 'nobody named'},"
    maker = (
        f", made with {claim.generator}"
        if claim.generator and claim.says in ("generated", "composite", "edited")
        else ""
    )
    if claim.detail == SAYS_NOTHING:
        text = f"{subject} does not say how the picture was made."
    else:
        words = f"{_WORDS[claim.says]}{maker} ({claim.detail})" if claim.says in _WORDS else claim.detail
        text = f"{subject} says: {words}.{_counts(claim)}"
    actions = ", ".join(manifest.actions[:12])
    if claim.says == "other" and actions:
        text += f" It records these actions: {actions}."
    said.find(
        text,
        {
            "detail": claim.detail,
            "rank": claim.rank,
            "depth": claim.depth,
            "signer": claim.signer,
            "generator": claim.generator,
            "actions": actions or None,
        },
        polarity=polarity,
        severity=severity,
    )


_WORDS = {
    "generated": "made by a generative model",
    "composite": "parts of it were made by a generative model",
    "edited": "edited with a generative model",
    "camera": "captured by a camera",
}


def _counts(claim: Claim) -> str:
    if claim.rank == "invalid":
        return " The manifest does not hold, so this decides nothing."
    if claim.says == "other":
        return ""
    if claim.says == "camera":
        if claim.rank == "trusted":
            return " That is the signer's word about the capture; it does not prove what the picture shows."
        return " The signer is not on the trust list, so this counts nothing: anyone can sign such a claim."
    if claim.rank == "trusted":
        return " The signer is trusted, so this decides."
    return " The signer is not on the trust list, so this counts, but discounted."
