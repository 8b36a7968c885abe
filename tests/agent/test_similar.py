"""Earlier cases of the same picture, on both databases."""

from __future__ import annotations

import hashlib

from agent.similar import TOLD
from agent.store import Store
from tests.agent.samples import sample
from tools.perceptual import SAME_WITHIN

PDQ = "0f" * 32


def off(bits: int) -> str:
    """A hash that differs from `PDQ` in so many bits."""
    return f"{int(PDQ, 16) ^ ((1 << bits) - 1):064x}"


async def kept(store: Store, case_id: str, content: bytes, pdq: str, label: str = "generated") -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    report = sample(case_id, sha256=sha256, label=label)
    report = report.model_copy(update={"image": report.image.model_copy(update={"pdq": pdq})})
    await store.begin_case(case_id, name="a.jpg", origin="upload", budget="standard", sha256=sha256, bytes=9)
    await store.finish_case(report)
    return sha256


async def test_the_same_file_comes_first_then_copies_by_distance_and_nothing_else(store: Store) -> None:
    own = await kept(store, "first", b"own", PDQ)
    await kept(store, "far", b"far", off(SAME_WITHIN + 1))
    await kept(store, "edge", b"edge", off(SAME_WITHIN), "no_evidence")
    await kept(store, "near", b"near", off(3))
    await kept(store, "plain", b"plain", "")
    await kept(store, "again", b"own", PDQ)
    found = await store.earlier("again", own, PDQ)
    assert [(one.case_id, one.distance, one.same_file) for one in found] == [
        ("first", 0, True), ("near", 3, False), ("edge", SAME_WITHIN, False),
    ]  # fmt: skip
    assert [one.label for one in found] == ["generated", "generated", "no_evidence"]
    assert [one.case_id for one in await store.earlier("new", "0" * 64, "")] == []
    assert [one.case_id for one in await store.earlier("plain2", hashlib.sha256(b"plain").hexdigest(), "")] == ["plain"]


async def test_only_finished_cases_and_a_bounded_number_of_them(store: Store) -> None:
    own = hashlib.sha256(b"own").hexdigest()
    await store.begin_case("running", name="a", origin="upload", budget="standard", sha256=own, bytes=9)
    assert await store.earlier("new", own, PDQ) == ()
    for number in range(TOLD + 2):
        await kept(store, f"case-{number}", b"own", PDQ)
    found = await store.earlier("new", own, PDQ)
    assert [one.case_id for one in found] == [f"case-{number}" for number in range(TOLD + 1, 1, -1)], "the newest"
