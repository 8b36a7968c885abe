"""Reads and validates a C2PA manifest store through c2pa-python, wholly offline.

The library (c2pa-rs underneath) checks signatures, hashes and certificates; its word is taken as it is and never
bettered: `Trusted`, `Valid` (intact, signer not on the trust list) or `Invalid`. Manifests that lie elsewhere are not
fetched, revocation is not asked for, identity assertions (which may resolve DIDs over the network) are not decoded,
and no host is allowed, so that nothing opens a connection even if one of these switches changes its meaning.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from tools.errors import ConfigurationError
from tools.provenance.trust import TrustList

State = Literal["none", "remote", "unreadable", "Invalid", "Valid", "Trusted"]
Problem = Literal["tampered", "expired", "revoked", "malformed"]

_MIME = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
    "HEIC": "image/heic",
}
# Not faults of the file: they say how the signer stands to the list, or what was left unchecked.
_STANDING = {"signingCredential.untrusted", "timeStamp.untrusted", "signingCredential.ocsp.skipped"}


@dataclass(frozen=True)
class Fault:
    """One reason why a manifest does not hold: its kind, C2PA's status code, where, and the library's own words."""

    problem: Problem
    code: str
    where: str
    words: str

    @property
    def sentence(self) -> str:
        """The fault in plain English."""
        return f"{self._plain} ({self.code})"

    @property
    def _plain(self) -> str:
        if self.code.endswith(("dataHash.mismatch", "bmffHash.mismatch", "boxesHash.mismatch")):
            if self.problem == "malformed":
                return (
                    f"the bytes that {self.where} leaves unprotected are not just the manifest itself, "
                    "so part of the file is not bound to the signature"
                )
            return f"the file's bytes are not the ones that were signed ({self.where} does not match)"
        if self.code == "assertion.hashedURI.mismatch":
            return f"the assertion {self.where} is not the one that was signed"
        if self.code == "claimSignature.mismatch":
            return "the signature does not fit the manifest, which was changed after signing"
        if self.problem == "expired":
            return "the certificate is outside its validity and no time stamp shows that it was valid at signing"
        if self.problem == "revoked":
            return "the certificate was revoked"
        return f"it breaks the C2PA rules at {self.where}: {self.words}"


@dataclass(frozen=True)
class Store:
    """A manifest store as it was read.

    Attributes:
        state: What the library says of the active manifest, or why there is nothing to say.
        report: The library's report (`Reader.json`).
        certificates: By manifest label, the certificate's subject, issuer and validity (`Reader.crjson`).
        faults: Why the active manifest is invalid.
        codes: Validation status codes of the active manifest, failures first.
        time_stamp: Whether an authority on the list vouches for the signing time. `legacy` is a time stamp under the
            old rules, whose authority the library does not hold against the list.
        why: For `remote` the address, for `unreadable` the library's message.
    """

    state: State
    report: dict[str, Any] = field(default_factory=dict, repr=False)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    faults: tuple[Fault, ...] = ()
    codes: tuple[str, ...] = ()
    time_stamp: Literal["none", "untrusted", "legacy", "trusted"] = "none"
    why: str = ""

    @property
    def active(self) -> str:
        """Label of the active manifest."""
        return str(self.report.get("active_manifest", ""))


def settings_for(trust: TrustList) -> dict[str, Any]:
    """The library's settings: everything that could reach the network is off, trust comes from `trust` alone."""
    anchors = [
        {"trust_kind": kind, "trust_anchors": pem, "trust_uri": f"exposit:{trust.name}"}
        for kind, pem in (("manifest", trust.signers), ("tsa", trust.time_stamps))
        if pem
    ]
    return {
        "trust": {"anchors": anchors},
        "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
        "verify": {
            "verify_after_reading": True,
            "verify_trust": True,
            "verify_timestamp_trust": True,
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
        },
    }


def context_for(trust: TrustList) -> Any:
    """The library's context under `trust`, kept for as long as the process uses that list.

    Raises:
        ConfigurationError: a certificate on the list cannot be parsed.
    """
    return _context(trust, os.getpid())


@lru_cache(maxsize=4)
def _context(trust: TrustList, _process: int) -> Any:  # a native handle does not outlive a fork
    import c2pa

    try:
        return c2pa.Context.from_dict(settings_for(trust))
    except c2pa.C2paError as error:
        raise ConfigurationError(
            f"The trust list {trust.name} was refused: {error}.",
            remedy="Replace it by a PEM file in which every certificate can be parsed.",
            code="trust_list",
        ) from error


@lru_cache(maxsize=1)
def library_version() -> str:
    """Version of the C2PA library whose word is taken."""
    import c2pa

    return str(c2pa.sdk_version())


def read_store(data: bytes, image_format: str, trust: TrustList) -> Store:
    """Reads the C2PA manifest store of a file and validates it against `trust`.

    Never raises for what is in the file.
    """
    import c2pa

    context = context_for(trust)
    try:
        with c2pa.Reader(_MIME.get(image_format), io.BytesIO(data), context=context) as reader:
            report, detail = json.loads(reader.json()), json.loads(reader.crjson())
    except c2pa.C2paError.ManifestNotFound:
        return Store("none")
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        message = str(error)
        if message.startswith("Remote:"):
            return Store("remote", why=message.rpartition(" ")[2])
        # A format that the library does not know, or a picture that Pillow forgives and it does not, has no
        # manifest to speak of unless the bytes of one are there.
        return Store("unreadable", why=message) if _holds_manifest(data) else Store("none")
    return _validated(report, detail)


def _holds_manifest(data: bytes) -> bool:
    return b"jumb" in data and b"c2pa" in data


def _validated(report: Any, detail: Any) -> Store:
    if not isinstance(report, dict) or not isinstance(report.get("manifests"), dict):
        return Store("unreadable", why="the manifest store has no manifests")
    certificates = {
        str(manifest.get("label")): manifest.get("signature", {}).get("certificateInfo", {})
        for manifest in detail.get("manifests", ())
        if isinstance(manifest, dict)
    }
    results = (report.get("validation_results") or {}).get("activeManifest") or {}
    failures = [entry for entry in results.get("failure", ()) if entry.get("code") not in _STANDING]
    state = report.get("validation_state")
    codes = [
        str(entry.get("code")) for kind in ("failure", "informational", "success") for entry in results.get(kind, ())
    ]
    return Store(
        state=state if state in ("Valid", "Trusted") else "Invalid",
        report=report,
        certificates=certificates,
        faults=tuple(_fault(entry, results) for entry in failures),
        codes=tuple(dict.fromkeys(codes)),
        time_stamp=_time_stamp(results),
    )


def _time_stamp(results: dict[str, Any]) -> Literal["none", "untrusted", "legacy", "trusted"]:
    for entry in results.get("success", ()):
        if entry.get("code") == "timeStamp.trusted":
            return "legacy" if str(entry.get("explanation")).startswith("legacy") else "trusted"
    codes = {entry.get("code") for kind in ("success", "informational", "failure") for entry in results.get(kind, ())}
    return "untrusted" if codes & {"timeStamp.validated", "timeStamp.untrusted"} else "none"


def _fault(entry: dict[str, Any], results: dict[str, Any]) -> Fault:
    code, words = str(entry.get("code")), str(entry.get("explanation") or "no reason given")
    where = str(entry.get("url") or "").rpartition("/")[2]
    if not where or "urn:" in where:
        where = "the manifest itself"
    problem: Problem = "malformed"
    if code.endswith("Hash.mismatch"):
        # The library uses one code for two things: content that changed, and a hash that leaves out more than the
        # manifest. In the second case the bytes that are covered match, and it says that too.
        match = code.replace("mismatch", "match")
        matched = any(other.get("code") == match for other in results.get("success", ()))
        problem = "malformed" if matched else "tampered"
    elif code in ("assertion.hashedURI.mismatch", "claimSignature.mismatch", "ingredient.manifest.mismatch"):
        problem = "tampered"
    elif code in ("signingCredential.expired", "claimSignature.outsideValidity"):
        problem = "expired"
    elif code == "signingCredential.ocsp.revoked":
        problem = "revoked"
    return Fault(problem, code, where, words)
