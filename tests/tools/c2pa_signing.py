"""A test authority: certificates of its own and C2PA-signed pictures. No certificate here is anybody else's."""

from __future__ import annotations

import datetime
import io
import json
from dataclasses import dataclass
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from tests.conftest import encoded, picture

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PEM = serialization.Encoding.PEM
QUIET = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False}}


def _days(count: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=count)


def _name(organisation: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


@dataclass
class Identity:
    """A leaf certificate with its chain and key, ready to sign."""

    chain: bytes
    key: bytes

    def signer(self) -> c2pa.Signer:
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", self.chain, self.key, None))


class Authority:
    """A root that issues claim-signing certificates."""

    def __init__(self, name: str = "Exposit Test") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name, f"{name} Root")
        public = self.key.public_key()
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_days(-4000))
            .not_valid_after(_days(4000))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_usage(ca=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def issue(
        self,
        organisation: str,
        common: str,
        *,
        start: int = -30,
        end: int | datetime.timedelta = 300,
        ocsp: str | None = None,
    ) -> Identity:
        """Issues a leaf that is valid from `start` to `end`, in days from now or as a time from now."""
        until = _days(end) if isinstance(end, int) else _days(0) + end
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(organisation, common))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_days(start))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        )
        if ocsp is not None:
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp))
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        leaf = builder.sign(self.key, hashes.SHA256())
        secret = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Identity(chain=leaf.public_bytes(PEM) + self.pem, key=secret)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def action(name: str, source: str | None = None, **fields: Any) -> dict[str, Any]:
    """A C2PA action; `source` is a digital source type, short or as a whole URL."""
    made: dict[str, Any] = {"action": name, **fields}
    if source is not None:
        made["digitalSourceType"] = source if ":" in source else IPTC + source
    return made


def sign(
    identity: Identity,
    *actions: dict[str, Any],
    source: bytes | None = None,
    ingredients: tuple[tuple[bytes, str], ...] = (),
    assertions: tuple[dict[str, Any], ...] = (),
    remote: str | None = None,
    actions_label: str = "c2pa.actions.v2",
    claim_version: int = 2,
) -> bytes:
    """A JPEG signed by `identity`, whose manifest says `actions`; `ingredients` are (JPEG, relationship).

    An `opened` action refers to the first ingredient and a `placed` action to the last, as C2PA asks.
    """
    told = [dict(each) for each in actions]
    for each in told:
        if each["action"] in ("c2pa.opened", "c2pa.placed"):
            number = 0 if each["action"] == "c2pa.opened" else len(ingredients) - 1
            each["parameters"] = {"ingredientIds": [f"ingredient{number}"]}
    manifest: dict[str, Any] = {
        "claim_generator_info": [{"name": "Exposit Test Signer", "version": "1.0"}],
        "title": "test.jpg",
        "format": "image/jpeg",
        "claim_version": claim_version,
        "assertions": [{"label": actions_label, "data": {"actions": told}}, *assertions],
    }
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(QUIET) as context,
        c2pa.Builder(json.dumps(manifest), context=context) as builder,
        identity.signer() as signer,
    ):
        for number, (data, relationship) in enumerate(ingredients):
            about = {"title": f"{number}.jpg", "relationship": relationship, "label": f"ingredient{number}"}
            builder.add_ingredient(json.dumps(about), "image/jpeg", io.BytesIO(data))
        if remote is not None:
            builder.set_remote_url(remote)
            builder.set_no_embed()
        builder.sign(signer, "image/jpeg", io.BytesIO(source or encoded(picture(96, 64))), out)
    return out.getvalue()
