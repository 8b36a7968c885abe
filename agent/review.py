"""A person beside the machine: when one is asked, and what becomes of what is said.

The machine's report is recorded first and stays as it is. Where the policy asks for a person, a thread waits at
LangGraph's `interrupt` (`agent.waiting`) until somebody answers, through any restart; any other case may be reviewed
too.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from agent.afterwards import PersonsLabel, Review, ReviewKind
from agent.settings import ReviewPolicy
from agent.state import Stakes
from agent.store import Store
from agent.threads import Threads
from agent.verdict import Report, Verdict
from tools.contract import Frozen
from tools.errors import CallerError


class Decision(Frozen):
    """What a reviewer says of a case.

    Attributes:
        kind: `confirm` takes over the machine's label; `override` gives another; `annotate` adds a note and judges
            nothing.
        label: On `override` only. `photograph` is what a person may know and no tool can say.
        revision: Number of the report that the reviewer read; the newest when unset.
    """

    kind: ReviewKind
    reviewer: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=4000)
    label: PersonsLabel | None = None
    revision: int | None = Field(default=None, ge=1, le=2**31 - 1)  # what a column of every database holds

    @model_validator(mode="after")
    def _label_goes_with_the_kind(self) -> Self:
        if (self.kind == "override") != (self.label is not None):
            raise ValueError("a label is given with `override`, and with nothing else")
        return self


def asks_for_review(policy: ReviewPolicy, stakes: Stakes, verdict: Verdict) -> str | None:
    """Why a person should look at this verdict before it is used; None where nobody is asked.

    Args:
        policy: `EXPOSIT_REVIEW`.
        stakes: What hangs on the answer, as the caller said.
        verdict: The machine's.
    """
    if stakes != "high" or policy == "never":
        return None
    if verdict.label == "inconclusive":
        return "The stakes are high and the verdict is inconclusive: a person should look before it is used."
    if policy == "always":
        return "The stakes are high: a person should look before the verdict is used."
    return None


class Reviews:
    """Threads that wait for a person, by case."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store, self._threads = store, threads

    async def ask(self, report: Report, because: str) -> None:
        """Has a thread wait for a person; where one waits already, it goes on waiting.

        Raises:
            TryAgainError: where the database of the threads does not answer; the log knows all the same who waits.
        """
        await self._in_thread(report, because, asked=True, said=None)

    async def resume(self, case_id: str, decision: Decision) -> Review:
        """Records what a reviewer says, in the thread that waits or in a new one.

        Raises:
            NotFoundError: if there is no such case, or it has no such report.
            CallerError: if the decision does not fit the report.
        """
        report = await self._store.report(case_id, decision.revision)
        if decision.kind == "override" and decision.label == report.verdict.label:
            raise CallerError(
                f"The machine's label is {decision.label} already.",
                remedy="Confirm it, or override it with another.",
                code="bad_review",
            )
        label = report.verdict.label if decision.kind == "confirm" else decision.label
        said = decision.model_dump(mode="json") | {"label": label, "revision": report.revision}
        because = report.review_asked or "A person reviews it unasked."
        await self._in_thread(report, because, asked=report.review_asked is not None, said=said)
        return (await self._store.reviews(case_id))[-1]

    async def waiting(self, case_id: str) -> str | None:
        """Why a thread of that case waits for a person; None where none does."""
        from agent.waiting import build

        async with self._threads.saver() as saver:
            interrupts = (await build(saver).aget_state(_thread(case_id))).interrupts
        return str(interrupts[0].value["because"]) if interrupts else None

    async def _in_thread(self, report: Report, because: str, *, asked: bool, said: dict[str, Any] | None) -> None:
        from langgraph.types import Command

        from agent.waiting import Asked, Log, build

        shown = Asked(
            case_id=report.case_id, because=because, label=report.verdict.label, revision=report.revision, asked=asked
        )
        log, thread = Log(store=self._store), _thread(report.case_id)
        async with self._threads.saver() as saver:
            graph = build(saver)
            if not (await graph.aget_state(thread)).interrupts:
                await graph.ainvoke(shown, thread, context=log)
            if said is not None:
                await graph.ainvoke(Command(resume=said), thread, context=log)


def _thread(case_id: str) -> Any:
    return {"configurable": {"thread_id": f"review:{case_id}"}}
