"""Bounded decoding: bytes in, upright sRGB pixels out, or a refusal that says what to do.

PLACEHOLDER OF THE INTERFACE: to be completed.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from tools.contract import Frozen, MapRef


class Limits(Frozen):
    """Bounds that hold before anything is decoded."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    max_frames: int = 2000
    max_metadata_bytes: int = 8 * 2**20
    min_side: int = 16


class MapBook:
    """Pictures that tools drew while they examined one image: PNG bytes by sha256."""

    def __init__(self) -> None:
        self.png: dict[str, bytes] = {}

    def add(self, name: str, values: npt.NDArray[np.floating] | npt.NDArray[np.uint8], caption: str) -> MapRef:
        """Keeps a map. `values` is HxW in [0, 1] (drawn in grey) or HxWx3 uint8."""
        array = values if values.dtype == np.uint8 else np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        self.png[digest] = buffer.getvalue()
        return MapRef(name=name, sha256=digest, caption=caption, width=array.shape[1], height=array.shape[0])


@dataclass(frozen=True)
class SourceImage:
    """A picture that decoded.

    Attributes:
        data: The original bytes.
        name: File name it came under, without folders.
        width, height: Of the upright picture, in pixels.
        mode: Pillow's mode of the file (`RGB`, `CMYK`, `P`, `I;16`, ...).
        frame, frames: Index of the frame that is judged, and how many there are.
        icc_converted: whether a colour profile was converted to sRGB.
        has_alpha: whether transparency was laid on white.
        orientation: EXIF orientation that was applied, 1 to 8.
        upright_is_lossless_native: pixel grid is that of the file (no rotation that moves the JPEG grid).
        notes: What decoding had to do, in plain English.
    """

    data: bytes
    name: str
    sha256: str
    format: str
    width: int
    height: int
    mode: str
    frame: int
    frames: int
    orientation: int
    notes: tuple[str, ...]
    rgb: npt.NDArray[np.uint8] = field(repr=False)
    maps: MapBook = field(default_factory=MapBook, repr=False)

    @classmethod
    def open(cls, data: bytes, name: str = "image", limits: Limits = Limits()) -> SourceImage:  # noqa: B008
        """Decodes within `limits`.

        Raises:
            ImageError: with a code of `REFUSALS`.
        """
        with Image.open(io.BytesIO(data)) as file:
            upright = ImageOps.exif_transpose(file).convert("RGB")
            return cls(
                data=data,
                name=name,
                sha256=hashlib.sha256(data).hexdigest(),
                format=file.format or "?",
                width=upright.width,
                height=upright.height,
                mode=file.mode,
                frame=0,
                frames=1,
                orientation=1,
                notes=(),
                rgb=np.asarray(upright),
            )

    @cached_property
    def luma(self) -> npt.NDArray[np.float32]:
        """HxW luma (BT.601) in 0..255."""
        return (self.rgb @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.float32)

    @property
    def seed(self) -> int:
        """Seed for everything random that is done to this picture, from its hash."""
        return int(self.sha256[:8], 16)
