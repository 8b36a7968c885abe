"""The C2PA trust list: which certificate authorities a signer must descend from to be believed.

A worker process names its list once, at its start, with `use_trust_list`; until then the list that ships in
`tools/trust/` is in force. What is in force is part of every piece of provenance evidence (name, counts, hash).
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

from tools.errors import ConfigurationError

SHIPPED_STATE = date(2026, 8, 13)
"""The day of the C2PA lists that ship (`tools/trust/README.md`)."""
SHIPPED = Path(__file__).resolve().parent.parent / "trust"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_MAX_BYTES = 4 * 2**20
_REMEDY = "Set EXPOSIT_TRUST_LIST to a PEM file of X.509 certificates, or unset it to use the list that ships."


@dataclass(frozen=True)
class TrustList:
    """Trust anchors in force.

    Attributes:
        name: What reports call it: `shipped`, or the file name of the list that replaces it.
        signers: PEM of the anchors for signatures; empty text trusts nobody.
        time_stamps: PEM of the anchors for time stamps.
        sha256: Of both texts, so that a report pins the list it was made with.
    """

    name: str
    signers: str = field(repr=False)
    time_stamps: str = field(repr=False)
    sha256: str

    @classmethod
    def of(cls, name: str, signers: str, time_stamps: str) -> TrustList:
        """Makes a list from PEM text; text between the certificates is dropped."""
        kept = ["\n".join(_CERTIFICATE.findall(text)) for text in (signers, time_stamps)]
        digest = hashlib.sha256("\n\n".join(kept).encode()).hexdigest()
        return cls(name, kept[0], kept[1], digest)

    @property
    def anchors(self) -> int:
        """How many certificates may stand above a signer."""
        return self.signers.count("BEGIN CERTIFICATE")

    @property
    def time_stamp_anchors(self) -> int:
        """How many certificates may stand above a time-stamping authority."""
        return self.time_stamps.count("BEGIN CERTIFICATE")


NOBODY = TrustList.of("empty", "", "")
"""Trusts nobody: every intact signature is then *valid, signer unknown*."""


@cache
def load_trust_list(path: Path | None = None) -> TrustList:
    """Reads a trust list.

    Args:
        path: A PEM file whose certificates serve for signers and time stamps alike; None is the list that ships.

    Raises:
        ConfigurationError: the file cannot be read, is too big, or holds something other than certificates.
    """
    if path is None:
        return TrustList.of("shipped", _pem(SHIPPED / "signers.pem"), _pem(SHIPPED / "time_stamps.pem"))
    text = _pem(path)
    return TrustList.of(path.name, text, text)


def _pem(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The trust list {path} cannot be read ({error.strerror}).", remedy=_REMEDY, code="trust_list"
        ) from error
    text = raw[:_MAX_BYTES].decode("utf-8", "replace")
    certificates = _CERTIFICATE.findall(text)
    try:
        # The C2PA library takes a certificate that it cannot parse without a word, and then trusts nobody by it.
        for certificate in certificates:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
        whole = len(raw) <= _MAX_BYTES and len(certificates) == text.count("-----BEGIN ")
    except ssl.SSLError:
        whole = False
    if not whole or (raw.strip() and not certificates):
        raise ConfigurationError(
            f"The trust list {path} is not a PEM file of X.509 certificates of at most {_MAX_BYTES} bytes.",
            remedy=_REMEDY,
            code="trust_list",
        )
    return text


_in_force: TrustList | None = None


def use_trust_list(path: Path | None) -> TrustList:
    """Puts a list in force for this process, replacing the one before; call it once, when a worker starts.

    Args:
        path: As for `load_trust_list`; None goes back to the list that ships.

    Raises:
        ConfigurationError: as `load_trust_list`, or a certificate on the list cannot be parsed.
    """
    global _in_force
    from tools.provenance.credentials import context_for

    chosen = load_trust_list(path)
    context_for(chosen)
    _in_force = chosen
    return chosen


def trust_list() -> TrustList:
    """The list in force in this process."""
    return load_trust_list() if _in_force is None else _in_force
