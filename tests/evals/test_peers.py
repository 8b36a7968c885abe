from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from evals.peers import Handout, Peer, ask, read
from evals.run import run
from tests.evals.fakes import calibration, knowing, made_data, suite
from tools.errors import ConfigurationError


def _script(folder: Path, body: str) -> Peer:
    path = folder / "peer.py"
    path.write_text("import os, sys, time\nfolder = sys.argv[1]\nnames = sorted(os.listdir(folder))\n" + body)
    return Peer("other", (sys.executable, str(path)))


@pytest.fixture
def handout():
    handout = Handout(seed=1)
    yield handout
    handout.close()


def test_scores_come_back_by_file_and_the_environment_is_not_ours(
    handout: Handout, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    names = [handout.add(b"\xff\xd8" + bytes([n])) for n in range(3)]
    peer = _script(tmp_path, "assert 'PYTHONPATH' not in os.environ\nfor n in names: print(n + ',0.5')\n")
    scores, told = ask(peer, "p", handout.folder, 30)
    assert scores == dict.fromkeys(names, 0.5)
    assert (told.outcome, told.missing, told.junk) == ("ok", 0, 0)
    assert names != sorted(names), "the order of the names tells nothing"
    with_place = Peer("other", (*peer.command, "{folder}", "--more"))
    assert ask(with_place, "p", handout.folder, 30)[0] == scores


def test_a_peer_that_hangs_is_ended_with_what_it_started(handout: Handout, tmp_path: Path) -> None:
    handout.add(b"\xff\xd8")
    pid = tmp_path / "pid"
    peer = _script(
        tmp_path,
        "import subprocess\n"
        f"child = subprocess.Popen(['sleep', '60']); open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "print(names[0] + ',0.25', flush=True)\ntime.sleep(60)\n",
    )
    began = time.perf_counter()
    scores, told = ask(peer, "p", handout.folder, 2)
    assert time.perf_counter() - began < 20
    assert told.outcome == "timeout"
    assert list(scores.values()) == [0.25], "what it had printed is kept"
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid.read_text()}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            break
        if state == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the peer's child outlived it")


def test_failure_and_junk_are_told(handout: Handout, tmp_path: Path) -> None:
    names = [handout.add(b"\x89P" + bytes([n])) for n in range(3)]
    peer = _script(tmp_path, "print('loading model')\nprint(names[0] + ',nan')\nprint('/a/' + names[1] + ',7')\n"
                   "sys.exit('out of memory')\n")  # fmt: skip
    scores, told = ask(peer, "p", handout.folder, 30)
    assert scores == {sorted(names)[1]: 7.0}
    assert (told.outcome, told.missing, told.junk) == ("failed", 2, 2)
    assert "out of memory" in told.message
    assert ask(Peer("gone", ("/no/such/program",)), "p", handout.folder, 5)[1].outcome == "failed"


def test_lines_are_read_strictly() -> None:
    text = 'a.jpg,0.1\na.jpg,0.9\n"b,c.jpg",-3e2\nunknown.jpg,0.5\n\nc.jpg;0.5\nc.jpg,inf\n'
    assert read(text, {"a.jpg", "b,c.jpg", "c.jpg"}) == ({"a.jpg": 0.1, "b,c.jpg": -300.0}, 4)
    for wrong in ("nocommand", "=x", "name="):
        with pytest.raises(ConfigurationError, match="NAME=COMMAND"):
            Peer.parse(wrong)
    assert Peer.parse("a=b 'c d'") == Peer("a", ("b", "c d"))


def test_a_peer_is_measured_beside_us_on_the_same_files(tmp_path: Path) -> None:
    body = (
        "from PIL import Image\nimport numpy as np\n"
        "for n in names[:-4]:\n"
        "    light = np.asarray(Image.open(os.path.join(folder, n))).mean()\n"
        "    print(f'{n},{light}')\n"
    )
    (tmp_path / "peer").mkdir()
    result = run(
        suite({"name": "m", "title": "M", "data": ["given"], "chain": {"side": 64}}), tmp_path, tmp_path,
        tools={"able": knowing("able", 0.5)}, calibration=calibration({"able": 1.0}),
        given=made_data(tmp_path / "p", 40), peers=[_script(tmp_path / "peer", body)], say=False,
    )  # fmt: skip
    protocol = result.protocols[0]
    peer = protocol.system("other")
    assert peer is not None
    assert peer.figures["auroc"].value == 1.0, "it sees what the classes differ in"
    assert "nll" not in peer.figures, "scores outside [0, 1] are no probabilities"
    assert peer.answered == 36
    assert result.peers[0].missing == 4
    versus = next(d for d in protocol.differences if d.theirs == "other")
    assert versus.difference.high < 0, "the agent is worse here, and the table says so"
    assert versus.pictures == 36
