"""Measures how the spectra of photographs fall, for `tools.detectors.frequency` to compare with.

    python -m finetune.spectra --photos ../shared/data/photos

Writes `tools/detectors/frequency_photographs.json`: for each JPEG quality that the photographs are saved at, their
slopes and shares of fine detail, sorted; with the hash of the data.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tools.detectors.frequency import REFERENCE, profile_of
from tools.signal import hann, luma_of, power, tile_grid

QUALITIES = (100, 95, 85, 75, 60)
TILE = 128


def measure(file: bytes, quality: int) -> tuple[float, float]:
    """Slope and share of fine detail (percent) of one photograph saved at `quality`."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(file)) as photo:
        photo.convert("RGB").save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as saved:
        luma = luma_of(np.asarray(saved))
    tiles = tile_grid(luma.shape[0], luma.shape[1], TILE, TILE, cap=64, seed=0)
    window = hann(TILE)
    return profile_of([power(luma[y : y + TILE, x : x + TILE], window) for y, x in tiles.corners])


def main() -> None:
    """Reads the photographs and writes the reference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEG photographs of at least 128 px")
    parser.add_argument("--out", type=Path, default=REFERENCE)
    arguments = parser.parse_args()
    files = [path.read_bytes() for path in sorted(arguments.photos.glob("*.jpg"))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(file).digest() for file in files)).hexdigest()
    by_quality = {}
    for quality in QUALITIES:
        slopes, fines = zip(*(measure(file, quality) for file in files), strict=True)
        by_quality[str(quality)] = {
            "slope": sorted(round(value, 2) for value in slopes),
            "fine_energy_pct": sorted(round(value, 2) for value in fines),
        }
    reference = {"made_by": "python -m finetune.spectra", "data_sha256": digest, "by_quality": by_quality}
    arguments.out.write_text(json.dumps(reference, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(files)} photographs at {len(QUALITIES)} qualities -> {arguments.out}")


if __name__ == "__main__":
    main()
