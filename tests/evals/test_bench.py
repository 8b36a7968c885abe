from __future__ import annotations

import pytest

from evals.bench import growth, large_picture
from tools.contract import Budget, Detector
from tools.detectors.frequency import frequency
from tools.detectors.inversion import inversion
from tools.detectors.patch import patch
from tools.detectors.splice import splice

TOOLS: dict[str, Detector] = {tool.name: tool for tool in (frequency, inversion, patch, splice)}


@pytest.mark.parametrize("tool", [frequency, inversion, patch], ids=lambda tool: tool.name)
def test_tiles_grow_with_the_picture_up_to_the_cap(tool: Detector) -> None:
    asked = {}
    for side in (448, 896, 1792):
        told = tool.examine(large_picture(side), Budget(max_tiles=12)).measurements
        asked[side] = int(told["tiles_judged"]) + int(told["tiles_flat"])
        assert asked[side] == min(int(told["tiles_possible"]), {"inversion": 8}.get(tool.name, 12))
        assert int(told["tiles_possible"]) == pytest.approx((side / int(told["tile_side_px"])) ** 2, rel=0.2)
        assert (float(told["coverage"]) > 0.99) == (asked[side] == told["tiles_possible"])
    assert asked[896] == asked[1792]


def test_64_megapixels_cost_no_more_than_the_cap_in_time_and_memory() -> None:
    found = growth(TOOLS, (512, 4096, 8000))
    for name, (_, capped, largest) in found.items():
        assert largest.cpu_ms < 3 * capped.cpu_ms + 200, name  # the pixels grow fourfold
        assert largest.mib is not None, name
        assert largest.mib < 400, name  # 192 MiB of pixels are held beside it
