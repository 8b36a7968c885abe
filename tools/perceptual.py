"""PDQ, a perceptual hash: copies of a picture that were re-saved or resized have nearly the same one.

Dalins, Wilson & Boudry, "PDQ & TMK + PDQF: a test drive of Facebook's perceptual hashing algorithms" (2019). Its
authors take pictures for the same up to 31 of 256 bits, and hashes of a quality of 49 or less for worthless.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

SAME_WITHIN: Final = 31
_LEAST_QUALITY: Final = 50
_DIGITS: Final = 64


def perceptual_hash(rgb: npt.NDArray[np.uint8]) -> str:
    """The hash of HxWx3 pixels as 64 hexadecimal digits; empty where the picture holds too little to be told by."""
    import pdqhash

    bits, quality = pdqhash.compute(np.ascontiguousarray(rgb))
    if quality < _LEAST_QUALITY:
        return ""
    return np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes().hex()


def distance(one: str, other: str) -> int | None:
    """Bits by which two hashes differ; None where either is empty or no hash."""
    if len(one) != _DIGITS or len(other) != _DIGITS:
        return None
    try:
        return (int(one, 16) ^ int(other, 16)).bit_count()
    except ValueError:
        return None
