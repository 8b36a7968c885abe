"""Commands that hand a case on: report, claimreview, bundle, verify, mcp."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui import running
from ui.running import Depth

if TYPE_CHECKING:
    from agent.service import Explainer
    from ui.formats.claimreview import Publisher
    from ui.formats.dossier import Dossier

Case = Annotated[str, typer.Argument(help="The case's id; `exposit history` lists them.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file; standard output when it is left out.")
]
Json = Annotated[bool, typer.Option("--json", help="Tell the outcome as JSON.")]


class Format(StrEnum):
    """What a report can be had as."""

    html = "html"
    pdf = "pdf"
    md = "md"
    json = "json"


class Right(StrEnum):
    """What a key can open."""

    read = "read"
    submit = "submit"
    review = "review"
    admin = "admin"


def add(app: typer.Typer) -> None:
    """Gives the commands to `app`."""
    for command in (report, claimreview, bundle, verify, mcp):
        app.command()(command)
    keys = typer.Typer(no_args_is_help=True, help="Keys of the API and the page.")
    keys.command("create")(keys_create)
    keys.command("list")(keys_list)
    keys.command("revoke")(keys_revoke)
    app.add_typer(keys, name="keys")


def report(
    case: Case,
    format: Annotated[Format, typer.Option("--format", "-f", help="html and pdf stand alone.")] = Format.html,
    output: Output = None,
) -> None:
    """Write the report of a case: HTML or PDF with pictures, Markdown, or JSON as it was stored."""
    settings = running.settings()

    async def work(explainer: Explainer) -> bytes:
        if format is Format.json:
            return (await explainer.report_text(case) + "\n").encode()
        if format is Format.md:
            from ui.report import markdown

            return markdown(await explainer.report(case)).encode()
        from ui.formats.dossier import gather

        found = await gather(explainer, settings, case)
        if format is Format.html:
            from ui.formats import html

            return html.render(found).encode()
        from ui.formats import pdf

        return pdf.render(found)

    data = running.with_explainer(settings, work, eager=False)
    running.guarded(lambda: running.save(data, output, f"report.{format.value}"))


def claimreview(
    case: Case,
    author: Annotated[str | None, typer.Option(help="Name of the organisation that reviews.")] = None,
    author_url: Annotated[str | None, typer.Option(help="Its web address.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the page that the review is published on.")] = None,
    output: Output = None,
) -> None:
    """Write a draft of ClaimReview and MediaReview markup (schema.org, JSON-LD)."""
    publisher = running.guarded(lambda: _publisher(author, author_url, url))
    found = running.with_explainer(running.settings(), lambda explainer: explainer.report(case), eager=False)
    from ui.formats import claimreview as markup

    data = markup.text(found, publisher).encode()
    running.guarded(lambda: running.save(data, output, "claimreview.json"))
    told = running.console(stderr=True)
    for line in markup.wanting(found, publisher):
        told.print(f"Before you publish: {line}", highlight=False, markup=False)


def bundle(
    case: Case,
    output: Output = None,
    original: Annotated[bool, typer.Option("--original", help="Put the examined file in, byte for byte.")] = False,
    json: Json = False,
) -> None:
    """Write the evidence bundle of a case: a zip with a manifest of SHA-256, which `exposit verify` checks."""
    settings = running.settings()
    out = output or Path(f"exposit-{case}.zip")

    async def work(explainer: Explainer) -> Dossier:
        from ui.formats.dossier import gather

        return await gather(explainer, settings, case)

    found = running.with_explainer(settings, work, eager=False)
    from ui.formats import bundle as bundles

    data = running.guarded(lambda: bundles.write(found, original=original))
    running.guarded(lambda: running.save(data, out, "bundle.zip"))
    noted = bundles.manifest_sha256(data)
    if str(out) == "-":
        running.console(stderr=True).print(f"SHA-256 of the manifest: {noted}", highlight=False, markup=False)
    elif json:
        running.say_json({"bundle": str(out), "bytes": len(data), "manifest_sha256": noted})
    else:
        running.say(f"{out} ({len(data):,} bytes)\nSHA-256 of the manifest: {noted}")
        running.say("Note that hash: it tells this bundle from one that was made anew.")


def verify(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The zip file.")],
    manifest: Annotated[
        str | None, typer.Option("--manifest-sha256", help="The hash that was noted when the bundle was made.")
    ] = None,
    json: Json = False,
) -> None:
    """Check an evidence bundle, without a network and without the log."""
    from ui.formats import bundle as bundles

    held = running.guarded(lambda: bundles.verify(path))
    if manifest is not None and manifest.lower() != held.manifest_sha256:
        from tools.errors import CallerError

        running.stop(
            CallerError(
                "The bundle agrees with itself, but it is another one: its manifest has the SHA-256 "
                f"{held.manifest_sha256}.",
                remedy="Do not rely on it; ask for the right one from whoever made it.", code="bundle_other",
            )
        )  # fmt: skip
    if json:
        running.say_json({"holds": True} | asdict(held))
        return
    running.say(f"The bundle holds: case {held.case_id}, verdict {held.label}, {held.files} files.")
    running.say(f"Picture (SHA-256):   {held.image_sha256}, {'inside' if held.original else 'not inside'}")
    running.say(f"Manifest (SHA-256):  {held.manifest_sha256}")
    running.say(f"End of the audit trail when it was made: row {held.head_seq}, {held.head_hash}")
    if manifest is None:
        running.say("It is whole and agrees with itself. Who made it is shown only by comparing the manifest's hash.")


def mcp(
    root: Annotated[
        list[Path] | None, typer.Option(help="A folder that pictures may be read from; can be given several times.")
    ] = None,
    urls: Annotated[bool, typer.Option(help="Whether pictures may be fetched from the web.")] = True,
    budget: Annotated[Depth | None, typer.Option(help="What an examination may cost.")] = None,
    vlm: Annotated[str | None, typer.Option(help="Who looks and narrates (EXPOSIT_VLM).")] = None,
) -> None:
    """Serve other agents over MCP, on standard input and output."""
    settings = running.settings(vlm, budget)
    roots = running.guarded(lambda: _folders(root or []))

    async def work(explainer: Explainer) -> None:
        from ui import intake
        from ui.fetch import FetchRules
        from ui.mcp import server

        rules = FetchRules(max_bytes=intake.max_bytes(settings)) if urls else None
        await server(explainer, settings, roots=roots, rules=rules).run_stdio_async()

    running.with_explainer(settings, work)


def keys_create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Annotated[list[Right], typer.Option(help="What it opens; can be given several times.")],
    json: Json = False,
) -> None:
    """Make a key. It is shown once, and only its hash is kept."""
    from agent.keys import SCOPES

    wanted = [each for each in SCOPES if each in scope]
    made, text = running.with_explainer(
        running.settings(), lambda explainer: explainer.keys.create(name, wanted), eager=False
    )
    if json:
        running.say_json({"id": made.id, "name": made.name, "scopes": list(made.scopes), "key": text})
        return
    running.say(text)
    running.console(stderr=True).print(
        f"Key {made.id} for {made.name} opens {', '.join(made.scopes)}. It will not be shown again.",
        highlight=False, markup=False,
    )  # fmt: skip


def keys_list(json: Annotated[bool, typer.Option("--json", help="One key a line, as JSON.")] = False) -> None:
    """List the keys, without their secrets."""
    for key in running.with_explainer(running.settings(), lambda explainer: explainer.keys.list(), eager=False):
        if json:
            running.say(key.model_dump_json())
            continue
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "open"
        running.say(f"{key.id}  {key.created_at:%Y-%m-%d}  {state}  {','.join(key.scopes)}  {key.name}")


def keys_revoke(
    key: Annotated[str, typer.Argument(help="The key's id, as `exposit keys list` shows it.")], json: Json = False
) -> None:
    """Close a key for good."""
    closed = running.with_explainer(running.settings(), lambda explainer: explainer.keys.revoke(key), eager=False)
    if json:
        running.say(closed.model_dump_json())
        return
    running.say(f"Key {closed.id} for {closed.name} is closed.")


def _folders(roots: list[Path]) -> list[Path]:
    from tools.errors import CallerError

    for root in roots:
        if not root.is_dir():
            raise CallerError(f"{root} is not a folder.", remedy="Correct --root.", code="not_a_folder")
    return roots


def _publisher(author: str | None, author_url: str | None, url: str | None) -> Publisher:
    from pydantic import ValidationError

    from tools.errors import CallerError
    from ui.formats.claimreview import Publisher

    try:
        return Publisher(author=author, author_url=author_url, url=url)
    except ValidationError as error:
        first = error.errors()[0]
        raise CallerError(
            f"--{str(first['loc'][0]).replace('_', '-')} does not hold: {first['msg']}.", remedy="Correct it.",
            code="publisher_invalid",
        ) from error  # fmt: skip
