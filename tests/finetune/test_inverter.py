from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from finetune import inverter
from tests.conftest import picture

PHOTOGRAPHS = [np.asarray(picture(160, 140, seed=i)) for i in range(3)]


def test_batches_repeat_by_seed_and_step() -> None:
    one, again, other = (inverter.batch_of(PHOTOGRAPHS, 6, 0, step) for step in (3, 3, 4))
    assert one.shape == (6, 3, inverter.SIDE, inverter.SIDE)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.abs().max() <= 1


def test_training_learns_and_resumes_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    before = inverter.psnr_at(inverter.Denoiser().eval(), PHOTOGRAPHS, 0.3)[1]
    whole = inverter.train(PHOTOGRAPHS, steps=12, work=tmp_path / "whole", size=3, report=6)
    assert inverter.psnr_at(whole, PHOTOGRAPHS, 0.3)[1] > before + 0.02

    save = torch.save
    monkeypatch.setattr(torch, "save", lambda state, part: (save(state, part), stop(state["step"]))[0])

    def stop(step: int) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inverter.train(PHOTOGRAPHS, steps=12, work=tmp_path / "parts", size=3, report=6)
    (tmp_path / "parts" / "checkpoint.part").replace(tmp_path / "parts" / "checkpoint.pt")
    monkeypatch.setattr(torch, "save", save)
    resumed = inverter.train(PHOTOGRAPHS, steps=12, work=tmp_path / "parts", size=3, report=6)
    assert "resumed at step 6" in capsys.readouterr().out
    for ours, theirs in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
