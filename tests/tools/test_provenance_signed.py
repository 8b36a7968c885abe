"""C2PA: files that the test signs with authorities of its own, on the list and off it."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import c2pa
import pytest

from tests.conftest import encoded, picture
from tests.tools.c2pa_signing import IPTC, Authority, Identity, action, sign
from tools.contract import Budget, Evidence
from tools.detectors.provenance import provenance
from tools.errors import ConfigurationError
from tools.image import SourceImage
from tools.provenance import credentials, load_trust_list, trust_list, use_trust_list
from tools.provenance.containers import jpeg_segments
from tools.provenance.trust import NOBODY

LISTED, STRANGER = Authority("Listed Test"), Authority("Stranger Test")
KNOWN = LISTED.issue("Known Works", "Known Camera")
UNKNOWN = STRANGER.issue("Unknown Works", "Unknown Camera")
CREATED_AI = action("c2pa.created", "trainedAlgorithmicMedia", softwareAgent={"name": "Painter", "version": "7"})
CAPTURED = action("c2pa.created", "digitalCapture")


@pytest.fixture(autouse=True)
def _authority_on_the_list(tmp_path: Path) -> Iterator[None]:
    path = tmp_path / "listed.pem"
    path.write_bytes(LISTED.pem)
    use_trust_list(path)
    yield
    use_trust_list(None)


def examine(data: bytes) -> Evidence:
    return provenance.examine(SourceImage.open(data, "test.jpg"), Budget())


def told(evidence: Evidence) -> list[tuple[str, str, int]]:
    return [(claim.says, claim.rank, claim.depth) for claim in evidence.claims if claim.source == "c2pa"]


def state(evidence: Evidence) -> object:
    return evidence.measurements["c2pa_state"]


@pytest.mark.parametrize(
    ("identity", "actions", "expected_state", "claim", "score"),
    [
        (KNOWN, [CAPTURED], "Trusted", ("camera", "trusted", 0), 0.0),
        (KNOWN, [CREATED_AI], "Trusted", ("generated", "trusted", 0), 1.0),
        (
            KNOWN,
            [action("c2pa.created", "compositeWithTrainedAlgorithmicMedia")],
            "Trusted",
            ("composite", "trusted", 0),
            0.5,
        ),
        (UNKNOWN, [CAPTURED], "Valid", ("camera", "valid_unknown_signer", 0), None),
        (UNKNOWN, [CREATED_AI], "Valid", ("generated", "valid_unknown_signer", 0), 1.0),
        (KNOWN, [action("c2pa.created", "digitalCreation")], "Trusted", ("other", "trusted", 0), None),
        (KNOWN, [action("c2pa.created", "compositeSynthetic")], "Trusted", ("other", "trusted", 0), None),
        (KNOWN, [action("c2pa.created", "screenCapture")], "Trusted", ("other", "trusted", 0), None),
    ],
)
def test_what_a_signature_may_decide(
    identity: Identity, actions: list[dict[str, object]], expected_state: str, claim: tuple[str, str, int], score: float
) -> None:
    evidence = examine(sign(identity, *actions))
    assert state(evidence) == expected_state
    assert told(evidence) == [claim]
    assert evidence.score == score
    assert evidence.claims[0].signer == (
        "Known Works (Known Camera)" if identity is KNOWN else evidence.claims[0].signer
    )


def test_a_capture_that_a_stranger_signed_says_why_it_counts_nothing() -> None:
    evidence = examine(sign(UNKNOWN, CAPTURED))
    assert any("counts nothing" in finding.text for finding in evidence.findings)
    assert all(finding.polarity == "neutral" for finding in evidence.findings)


@pytest.mark.parametrize(
    "spelling",
    [
        IPTC + "trainedAlgorithmicMedia",
        IPTC.replace("http:", "https:") + "trainedAlgorithmicMedia",
        "https://c2pa.org/digitalsourcetype/trainedAlgorithmicMedia",
        "http://c2pa.org/digitalsourcetype/trainedAlgorithmicMedia",
    ],
)
def test_every_spelling_of_a_source_type(spelling: str) -> None:
    assert told(examine(sign(KNOWN, action("c2pa.created", spelling)))) == [("generated", "trusted", 0)]


def test_old_actions_and_metadata_assertions_are_read() -> None:
    old = sign(KNOWN, CREATED_AI, claim_version=1, actions_label="c2pa.actions")
    assert told(examine(old)) == [("generated", "trusted", 0)]
    metadata = {
        "label": "cawg.metadata",
        "data": {
            "@context": {"Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"},
            "Iptc4xmpExt:DigitalSourceType": IPTC + "trainedAlgorithmicMedia",
        },
    }
    evidence = examine(sign(KNOWN, action("c2pa.created", "digitalCreation"), assertions=(metadata,)))
    assert ("generated", "trusted", 0) in told(evidence)
    assert any("cawg.metadata" in claim.detail for claim in evidence.claims)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (action("c2pa.edited", "trainedAlgorithmicMedia"), "edited"),
        (action("c2pa.edited", "compositeWithTrainedAlgorithmicMedia"), "composite"),
        (action("c2pa.edited", softwareAgent="Adobe Firefly"), "edited"),
    ],
)
def test_an_edit_with_a_model_outweighs_the_capture_it_began_with(edit: dict[str, object], says: str) -> None:
    evidence = examine(sign(KNOWN, CAPTURED, edit))
    assert set(told(evidence)) == {("camera", "trusted", 0), (says, "trusted", 0)}
    assert evidence.score == 0.5


def test_an_ai_ingredient_under_an_edit_is_reported_with_its_depth() -> None:
    made = sign(KNOWN, CREATED_AI)
    once = sign(KNOWN, action("c2pa.opened"), action("c2pa.color_adjustments"), ingredients=((made, "parentOf"),))
    twice = sign(KNOWN, action("c2pa.opened"), action("c2pa.cropped"), ingredients=((once, "parentOf"),))
    evidence = examine(once)
    assert state(evidence) == "Trusted"
    assert told(evidence) == [("other", "trusted", 0), ("generated", "trusted", 1)]
    assert evidence.claims[1].generator == "Painter 7"
    assert evidence.score == 1.0
    assert any("1 level down" in finding.text and "Painter 7" in finding.text for finding in evidence.findings)
    assert [(says, depth) for says, _, depth in told(examine(twice))] == [("other", 0), ("generated", 2)]


def test_a_placed_part_makes_a_composite_and_a_placed_photograph_says_nothing() -> None:
    base, part, photo = (
        sign(KNOWN, action("c2pa.created", "digitalCreation")),
        sign(KNOWN, CREATED_AI),
        sign(KNOWN, CAPTURED),
    )
    steps = (action("c2pa.opened"), action("c2pa.placed"))
    with_part = examine(sign(KNOWN, *steps, ingredients=((base, "parentOf"), (part, "componentOf"))))
    assert ("composite", "trusted", 1) in told(with_part)
    assert with_part.score == 0.5
    with_photo = examine(sign(KNOWN, *steps, ingredients=((base, "parentOf"), (photo, "componentOf"))))
    assert ("other", "trusted", 1) in told(with_photo)
    assert with_photo.score is None


def test_a_photograph_that_was_edited_since_is_no_longer_a_capture() -> None:
    photo = sign(KNOWN, CAPTURED)
    evidence = examine(sign(KNOWN, action("c2pa.opened"), action("c2pa.edited"), ingredients=((photo, "parentOf"),)))
    assert told(evidence) == [("other", "trusted", 0), ("camera", "trusted", 1)]
    assert evidence.score is None


def test_an_ingredient_ranks_by_its_own_signature_too() -> None:
    opened = action("c2pa.opened")
    stranger = sign(UNKNOWN, CREATED_AI)
    evidence = examine(sign(KNOWN, opened, ingredients=((stranger, "parentOf"),)))
    assert ("generated", "valid_unknown_signer", 1) in told(evidence)
    tampered = _tampered(sign(KNOWN, CREATED_AI))
    evidence = examine(sign(KNOWN, opened, ingredients=((tampered, "parentOf"),)))
    assert ("generated", "invalid", 1) in told(evidence)
    assert evidence.score is None
    inside = examine(sign(UNKNOWN, opened, ingredients=((sign(KNOWN, CREATED_AI), "parentOf"),)))
    assert ("generated", "valid_unknown_signer", 1) in told(inside)


def _tampered(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[-100] ^= 0x10
    return bytes(changed)


def test_a_file_that_was_changed_after_signing_decides_nothing() -> None:
    for actions in (CAPTURED, CREATED_AI):
        evidence = examine(_tampered(sign(KNOWN, actions)))
        assert state(evidence) == "Invalid"
        assert evidence.measurements["c2pa_problem"] == "tampered"
        assert [rank for _, rank, _ in told(evidence)] == ["invalid"]
        assert evidence.score is None
        assert "c2pa.hash.data" in evidence.findings[0].text
        assert all(finding.polarity == "neutral" for finding in evidence.findings)


def test_a_manifest_lifted_onto_another_picture_decides_nothing() -> None:
    signed, other = sign(KNOWN, CAPTURED), encoded(picture(96, 64, seed=5))
    manifest = b"".join(
        bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body
        for marker, body in jpeg_segments(signed)
        if marker == 0xEB
    )
    assert state(examine(signed)) == "Trusted"  # the control: it holds where it belongs
    evidence = examine(other[:20] + manifest + other[20:])
    assert state(evidence) == "Invalid"
    assert evidence.measurements["c2pa_problem"] == "tampered"
    assert evidence.score is None


def test_an_expired_certificate_without_a_time_stamp_is_invalid() -> None:
    short = LISTED.issue("Known Works", "Short-lived", start=-30, end=datetime.timedelta(seconds=2))
    data = sign(short, CAPTURED)
    time.sleep(3.2)  # validity counts in whole seconds, the last one included
    evidence = examine(data)
    assert state(evidence) == "Invalid"
    assert evidence.measurements["c2pa_problem"] == "expired"
    assert evidence.score is None


def test_garbled_and_truncated_manifests_are_told() -> None:
    data = bytearray(sign(KNOWN, CAPTURED))
    at = data.index(b"c2cl")
    data[at : at + 4] = b"zzzz"
    evidence = examine(bytes(data))
    assert state(evidence) == "unreadable"
    assert evidence.claims == ()
    assert "cannot be read" in evidence.findings[0].text


def test_the_list_in_force_is_stated_and_replaceable(tmp_path: Path) -> None:
    data = sign(KNOWN, CAPTURED)
    listed = examine(data)
    assert listed.measurements["trust_list"] == "listed.pem"
    assert listed.measurements["trust_list_anchors"] == 1
    assert listed.measurements["trust_list_sha256"] == trust_list().sha256
    assert "listed.pem" in listed.findings[0].text

    empty = tmp_path / "empty.pem"
    empty.write_text("")
    use_trust_list(empty)
    assert state(examine(data)) == "Valid"
    assert trust_list().sha256 == NOBODY.sha256

    shipped = use_trust_list(None)
    assert state(examine(data)) == "Valid"
    assert (shipped.anchors, shipped.time_stamp_anchors) == (30, 22)

    for content in ("not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        bad = tmp_path / f"bad{len(content)}.pem"
        bad.write_text(content)
        with pytest.raises(ConfigurationError) as caught:
            use_trust_list(bad)
        assert caught.value.code == "trust_list"
    with pytest.raises(ConfigurationError):
        use_trust_list(tmp_path / "missing.pem")
    assert trust_list() == shipped  # a list that was refused does not replace the one in force


def test_the_shipped_list_is_the_one_its_readme_states() -> None:
    folder = Path(credentials.__file__).parent.parent / "trust"
    readme = (folder / "README.md").read_text()
    for name in ("signers.pem", "time_stamps.pem"):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in readme
    assert load_trust_list() == load_trust_list(None)


class _Counter(http.server.BaseHTTPRequestHandler):
    hits: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.hits.append(self.path)
        self.send_error(404)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    _Counter.hits.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Counter) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_nothing_is_fetched(server: str) -> None:
    remote = sign(KNOWN, CREATED_AI, remote=f"{server}/manifest.c2pa")
    asks = LISTED.issue("Known Works", "Asks for revocation", ocsp=f"{server}/ocsp")
    revocable = sign(asks, CAPTURED)
    evidence = examine(remote)
    assert state(evidence) == "remote"
    assert evidence.score is None
    assert any("was not fetched" in finding.text for finding in evidence.findings)
    assert state(examine(revocable)) == "Trusted"
    assert _Counter.hits == []

    # The control: with fetching on, the library does come to this server for both.
    online = credentials.settings_for(trust_list())
    online["core"] = {}
    online["verify"] |= {"remote_manifest_fetch": True, "ocsp_fetch": True}
    with c2pa.Context.from_dict(online) as context:
        for data in (remote, revocable):
            try:
                c2pa.Reader("image/jpeg", io.BytesIO(data), context=context).close()
            except c2pa.C2paError:
                continue
    assert any(path.startswith("/manifest") for path in _Counter.hits)
    assert any(path.startswith("/MF") for path in _Counter.hits)  # a certificate id, in base64
