"""How a service holds under load: no case lost, none doubled, and how long an answer takes.

    python -m evals.load --url http://127.0.0.1:7860 --clients 4 --seconds 300
    python -m evals.load --start --kill --modes sync async batch --workers 1

Clients send pictures that are all different and small, and each waits for its verdict before it sends the next. In the
end the log is walked, picture by picture: each that was answered or taken in must stand there exactly once and be done.
`--start` runs a service of its own, without the language model; `--kill` ends a worker and then the service by SIGKILL
in between. A request that broke off is sent again under the same `Idempotency-Key`, as a careful client would.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from evals.bench import natural_picture
from evals.running import Service

MODES: Final = ("sync", "async", "batch")
_SIDE: Final = 160
_BATCH: Final = 10
_POLL_S: Final = 0.3
_BROKEN_S: Final = 0.5
_SETTLE_S: Final = 120.0
_AGAIN: Final = frozenset({429, 503})
"""Answers that ask for the same request a little later."""


@dataclass(eq=False)
class Sent:
    """One picture on its way."""

    data: bytes
    sha256: str
    mode: str
    outcome: str = "unanswered"
    began: float = 0.0
    seconds: float | None = None


@dataclass
class Tally:
    """What came of it all.

    Attributes:
        answers: Answers by status; broken connections stand under `broken`.
        lost: Pictures that were answered or taken in, of which the log has no case that is done.
        doubled: Pictures of which the log has more than one case.
        unanswered: Pictures that never came in, because the time was over.
        seconds: Median, 95th percentile and longest wait for a verdict, by mode.
    """

    clients: int
    seconds_run: float
    modes: list[str]
    pictures: int = 0
    verdicts: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    unanswered: int = 0
    killed: list[str] = field(default_factory=list)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing was lost or doubled, and no answer was an error but 429 (and, around a kill, 503)."""
        return not (self.lost or self.doubled or self.errors) and self.verdicts > 0


class Load:
    """The clients.

    Args:
        url: Of the service.
        seconds: How long new pictures are sent.
        modes: Given out to the clients in turn.
        key: Of the service, where it asks for one.
        transport: In place of the network; tests have a service of their own.
    """

    def __init__(
        self,
        url: str,
        *,
        clients: int,
        seconds: float,
        modes: Sequence[str],
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._clients, self._seconds, self._modes = url, clients, seconds, modes
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._transport = transport
        # a second run sends other pictures than the first
        self._numbers = itertools.count(random.SystemRandom().randrange(2**31))
        self.sent: list[Sent] = []
        self.answers: Counter[str] = Counter()
        self.troubled = False
        """Whether something is being killed just now: connections then break."""

    async def run(self) -> None:
        """Sends for as long as was asked for, and waits for the last verdicts."""
        until = time.monotonic() + self._seconds
        async with self._http() as client:
            await asyncio.gather(
                *(self._client(client, self._modes[n % len(self._modes)], until) for n in range(self._clients))
            )

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=120, trust_env=False, transport=self._transport,
            limits=httpx.Limits(max_connections=self._clients * 2),
        )  # fmt: skip

    async def _client(self, client: httpx.AsyncClient, mode: str, until: float) -> None:
        while time.monotonic() < until:
            wanted = [next(self._numbers) for _ in range(_BATCH if mode == "batch" else 1)]
            fresh = await asyncio.to_thread(_pictures, wanted, mode)
            self.sent += fresh
            began = time.monotonic()
            for each in fresh:
                each.began = began
            await {"sync": self._sync, "async": self._async, "batch": self._batch}[mode](client, fresh)

    async def _sync(self, client: httpx.AsyncClient, fresh: list[Sent]) -> None:
        (one,) = fresh
        answer = await self._post(client, "/v1/explanations", {"file": ("load.jpg", one.data)}, {"budget": "quick"})
        self._done(one, answer.status_code == 200)

    async def _async(self, client: httpx.AsyncClient, fresh: list[Sent]) -> None:
        (one,) = fresh
        answer = await self._post(
            client, "/v1/explanations", {"file": ("load.jpg", one.data)}, {"budget": "quick"}, Prefer="respond-async"
        )
        if answer.status_code == 202:
            one.outcome = "taken in"
            self._done(one, await self._until_done(client, answer.headers["location"]))
        else:
            self._done(one, answer.status_code == 200)

    async def _batch(self, client: httpx.AsyncClient, fresh: list[Sent]) -> None:
        files = [("files", (f"load-{number}.jpg", each.data)) for number, each in enumerate(fresh)]
        answer = await self._post(client, "/v1/batches", files, {"budget": "quick"})
        if answer.status_code not in (200, 201, 202):
            return
        for each in fresh:
            each.outcome = "taken in"
        done = await self._until_done(client, answer.headers["location"])
        for each in fresh:
            self._done(each, done)

    def _done(self, one: Sent, well: bool) -> None:
        if well:
            one.outcome, one.seconds = "answered", time.monotonic() - one.began

    async def _post(
        self, client: httpx.AsyncClient, path: str, files: Any, data: dict[str, str], **headers: str
    ) -> httpx.Response:
        """Sends until there is an answer that does not ask to come again."""
        headers["Idempotency-Key"] = str(uuid.uuid4())
        return await self._asked(client, "POST", path, files=files, data=data, headers=headers)

    async def _until_done(self, client: httpx.AsyncClient, location: str) -> bool:
        while True:
            answer = await self._asked(client, "GET", location)
            if answer.status_code != 200:
                return False
            state = answer.json().get("state", "done")
            if state in ("done", "failed"):
                return bool(state == "done")
            await asyncio.sleep(_POLL_S)

    async def _asked(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        tries = 0
        while True:
            tries += 1
            try:
                answer = await client.request(method, path, **more)
            except httpx.HTTPError as error:
                self.answers["broken" if self.troubled else f"broken ({type(error).__name__})"] += 1
                if tries > 600:
                    raise
                await asyncio.sleep(_BROKEN_S)
                continue
            kind = str(answer.status_code)
            if answer.status_code == 503 and self.troubled:
                kind = "503 around a kill"
            elif answer.status_code >= 400 and answer.status_code != 429:
                kind += f" {answer.json().get('code', '')}"
            self.answers[kind] += 1
            if answer.status_code not in _AGAIN or tries > 600:
                return answer
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)))

    async def walk(self) -> tuple[int, int]:
        """Looks every picture up in the log: how many were lost, and how many doubled. Waits for what still runs."""
        lost = doubled = 0
        until = time.monotonic() + _SETTLE_S
        async with self._http() as client:
            for one in self.sent:
                while True:
                    answer = await self._asked(client, "GET", f"/v1/cases?sha256={one.sha256}&limit=10")
                    states = [case["status"] for case in answer.json()["cases"]]
                    pending = one.outcome != "unanswered" and "done" not in states
                    if not (pending and time.monotonic() < until and states != ["failed"]):
                        break
                    await asyncio.sleep(1)
                # what a killed service was at and nobody was answered for stands there as failed: interrupted
                doubled += sum(state != "failed" for state in states) > 1
                lost += one.outcome != "unanswered" and "done" not in states
        return lost, doubled

    def tally(self, lost: int, doubled: int, killed: list[str]) -> Tally:
        """Sums it up."""
        made = Tally(self._clients, self._seconds, list(self._modes), pictures=len(self.sent), killed=killed)
        made.answers = dict(sorted(self.answers.items()))
        fine = {"200", "201", "202", "429", *(("broken", "503 around a kill") if killed else ())}
        made.errors = {kind: number for kind, number in made.answers.items() if kind not in fine}
        made.lost, made.doubled = lost, doubled
        made.verdicts = sum(one.outcome == "answered" for one in self.sent)
        made.unanswered = sum(one.outcome == "unanswered" for one in self.sent)
        for mode in self._modes:
            took = sorted(one.seconds for one in self.sent if one.mode == mode and one.seconds is not None)
            if took:
                p95 = statistics.quantiles(took, n=20, method="inclusive")[-1] if len(took) > 1 else took[0]
                made.seconds[mode] = {
                    "verdicts": len(took), "p50": round(statistics.median(took), 2), "p95": round(p95, 2),
                    "max": round(took[-1], 2),
                }  # fmt: skip
        return made


def _pictures(numbers: Sequence[int], mode: str) -> list[Sent]:
    made = [natural_picture(_SIDE, number) for number in numbers]
    return [Sent(data, hashlib.sha256(data).hexdigest(), mode) for data in made]


async def kill(load: Load, service: Service, seconds: float, killed: list[str]) -> None:
    """Ends a worker after a third of the time and the service after two thirds, and starts them again."""
    await asyncio.sleep(seconds / 3)
    load.troubled = True
    killed.append(await asyncio.to_thread(service.kill_worker))
    await asyncio.sleep(seconds / 3)
    await asyncio.to_thread(service.kill_app)
    killed.append("exposit serve")
    await asyncio.sleep(2)
    await asyncio.to_thread(service.start_app)
    await asyncio.sleep(5)
    load.troubled = False


def table(tally: Tally) -> str:
    """The figures for people."""
    lines = [
        f"{tally.clients} clients, {tally.seconds_run:g} s, {' and '.join(tally.modes)}"
        + (f"; killed: {', '.join(tally.killed)}" if tally.killed else ""),
        f"{tally.pictures} pictures, {tally.verdicts} verdicts "
        f"({60 * tally.verdicts / tally.seconds_run:.0f} a minute), {tally.unanswered} never taken in",
        f"lost {tally.lost}, doubled {tally.doubled}",
        "answers: " + ", ".join(f"{kind}: {number}" for kind, number in tally.answers.items()),
        "errors: " + (", ".join(f"{kind}: {number}" for kind, number in tally.errors.items()) or "none"),
        f"{'':8}{'verdicts':>10}{'p50 s':>8}{'p95 s':>8}{'max s':>8}",
    ]
    for mode, took in tally.seconds.items():
        lines.append(f"{mode:8}{took['verdicts']:>10}{took['p50']:>8.2f}{took['p95']:>8.2f}{took['max']:>8.2f}")
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> Tally:
    """Runs the clients as `options` say."""
    killed: list[str] = []

    async def run(url: str, service: Service | None) -> Tally:
        load = Load(url, clients=options.clients, seconds=options.seconds, modes=options.modes, key=options.key)
        killing = kill(load, service, options.seconds, killed) if options.kill and service else asyncio.sleep(0)
        await asyncio.gather(load.run(), killing)
        return load.tally(*await load.walk(), killed)

    if not options.start:
        return asyncio.run(run(options.url, None))
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), workers=options.workers) as service:
        return asyncio.run(run(service.url, service))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 where a case was lost or doubled, or an answer was an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="a service that runs")
    where.add_argument("--start", action="store_true", help="start one, in a folder that is deleted afterwards")
    parser.add_argument("--key", help="key of the service, with the scopes submit and read")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["sync"])
    parser.add_argument("--workers", type=int, default=0, help="processes of `exposit worker` beside the service")
    parser.add_argument("--kill", action="store_true", help="kill -9 a worker and the service meanwhile (with --start)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args(arguments)
    if options.kill and not options.start:
        parser.error("--kill needs --start: only what was started here is killed")
    tally = measure(options)
    print(table(tally))
    if options.out:
        options.out.write_text(json.dumps(asdict(tally) | {"holds": tally.holds}, indent=1) + "\n")
    return 0 if tally.holds else 1


if __name__ == "__main__":
    sys.exit(main())
