"""Bounded decoding: bytes in, upright sRGB pixels out, or a refusal that says what to do.

Everything that a file claims of itself (its length, its pixels, its frames, its metadata) is checked against `Limits`
before a pixel is decoded, by `tools.container` where Pillow would have to read the whole file to know.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from tools import container
from tools.contract import Frozen, MapRef
from tools.errors import ImageError

REFUSALS: dict[str, str] = {
    "empty_file": "Send the file again: the upload may have broken off, or the file was saved empty.",
    "file_too_large": "Send a smaller file, but not a screenshot of it: re-saving destroys evidence.",
    "not_an_image": "Send the picture itself, as JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC.",
    "unsupported_format": "Export the picture as PNG or TIFF, or send the JPEG, PNG, WebP or HEIC that it came from.",
    "truncated": "Download or copy the file again: its end is missing, and half a picture is not judged.",
    "corrupt": "Get the file again from where it came from: its data contradict themselves.",
    "decompression_bomb": "Do not open this file elsewhere: it may be built to exhaust memory.",
    "too_many_pixels": "Cut out the part in question at its native size and send that as PNG; do not scale it.",
    "too_many_frames": "Save the frame in question as PNG and send that.",
    "metadata_too_large": "Check what the file carries besides the picture; then send it without that part.",
    "too_small": "Send a larger version: in so few pixels nothing can be told.",
    "unsupported_colour": "Export the picture as an ordinary RGB file (PNG or TIFF) and send that.",
}
"""Every code of `ImageError` and the sentence that says what to do."""

BOMB_FACTOR = 4
"""A picture with more than this many times the allowed pixels is called a bomb, not a large picture."""


class Limits(Frozen):
    """Bounds that hold before anything is decoded."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    max_frames: int = 2000
    max_metadata_bytes: int = 8 * 2**20
    min_side: int = 16


DEFAULT_LIMITS = Limits()


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
        orientation: EXIF orientation that was applied, 1 (as stored) to 8.
        notes: What decoding had to do, in plain English.
        rgb: HxWx3 uint8, upright, sRGB, read-only.
    """

    data: bytes = field(repr=False)
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
    def open(cls, data: bytes, name: str = "image", limits: Limits = DEFAULT_LIMITS) -> SourceImage:
        """Decodes within `limits`.

        Raises:
            ImageError: with a code of `REFUSALS`.
        """
        frames = inspect_container(data, limits)
        try:
            with warnings.catch_warnings():
                # Pillow warns of odd metadata that does not keep it from reading the pixels.
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                return cls._decode(data, name, frames, limits)
        except ImageError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            stated = re.search(r"\((\d+) pixels\)", str(error))
            raise _too_many_pixels(int(stated[1]) if stated else 0, limits) from error
        except MemoryError as error:
            raise refusal("corrupt", "The file asks for more memory than its size allows.") from error
        except Exception as error:  # decoders raise whatever a strange file makes them stumble on
            raise _undecodable(error) from error

    @classmethod
    def _decode(cls, data: bytes, name: str, frames: int, limits: Limits) -> SourceImage:
        with _opened(data) as file:
            width, height = file.size
            if width * height > limits.max_pixels:
                raise _too_many_pixels(width * height, limits)
            if min(width, height) < limits.min_side:
                raise refusal(
                    "too_small",
                    f"The picture is {width}x{height} pixels; at least {limits.min_side} on each side are needed.",
                )
            fmt = container.sniff(data) or "unknown"
            frames = max(frames, 1 if fmt == "JPEG" else int(getattr(file, "n_frames", 1)))
            if frames > limits.max_frames:
                raise _too_many_frames(limits)
            mode = file.mode
            notes = []
            if frames > 1:
                unit = "pages" if fmt == "TIFF" else "frames"
                notes.append(f"The file holds {frames} {unit}; number 1, the first, was judged.")
            elif file.format == "MPO":
                notes.append("The file holds more than one picture; the first was judged.")
            file.load()
            orientation = _orientation(file)
            picture, colour_notes = _to_srgb(file)
            notes += colour_notes
            if orientation != 1:
                picture = _upright(picture, orientation)
                notes.append("The picture was turned upright, as its EXIF orientation says.")
        rgb = np.asarray(picture)
        rgb.setflags(write=False)
        return cls(
            data=data,
            name=name,
            sha256=hashlib.sha256(data).hexdigest(),
            format=fmt,
            width=picture.width,
            height=picture.height,
            mode=mode,
            frame=0,
            frames=frames,
            orientation=orientation,
            notes=tuple(notes),
            rgb=rgb,
        )

    @cached_property
    def luma(self) -> npt.NDArray[np.float32]:
        """HxW luma (BT.601) in 0..255, read-only."""
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        luma = np.empty(self.rgb.shape[:2], dtype=np.float32)
        for top in range(0, self.height, 256):  # by strips: a float copy of 64 megapixels would take 768 MB
            luma[top : top + 256] = self.rgb[top : top + 256] @ weights
        luma.setflags(write=False)
        return luma

    @property
    def seed(self) -> int:
        """Seed for everything random that is done to this picture, from its hash."""
        return int(self.sha256[:8], 16)


def refusal(code: str, message: str) -> ImageError:
    """The error of that code, with its remedy."""
    return ImageError(message, remedy=REFUSALS[code], code=code)


def inspect_container(data: bytes, limits: Limits = DEFAULT_LIMITS) -> int:
    """Checks what the bytes claim before any decoder sees them.

    Returns:
        Frames or pages counted in the container, 1 where the format does not tell cheaply.

    Raises:
        ImageError: with a code of `REFUSALS`.
    """
    if not data:
        raise refusal("empty_file", "The file is empty (0 bytes).")
    if len(data) > limits.max_bytes:
        raise refusal(
            "file_too_large",
            f"The file has {len(data) / 2**20:.1f} MiB; at most {limits.max_bytes / 2**20:.0f} MiB are accepted.",
        )
    kind = container.sniff(data)
    if kind is None:
        raise refusal("not_an_image", f"The file is not a picture: its first bytes are {container.looks_like(data)}.")
    if kind not in container.READ:
        raise refusal("unsupported_format", f"The file is {kind}, which is not read here.")
    metadata = container.metadata_bytes(data, kind)
    if metadata > limits.max_metadata_bytes:
        raise refusal(
            "metadata_too_large",
            f"The file carries {metadata / 2**20:.1f} MiB of metadata; "
            f"at most {limits.max_metadata_bytes / 2**20:.0f} MiB are read.",
        )
    frames = container.frames(data, kind, limits.max_frames)
    if frames > limits.max_frames:
        raise _too_many_frames(limits)
    return frames


def _opened(data: bytes) -> Image.Image:
    if container.sniff(data) == "HEIC":
        from pi_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
        return Image.open(io.BytesIO(data), formats=["HEIF"])
    for plugin in ("Jpeg", "Mpo", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif"):
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])


def _orientation(file: Image.Image) -> int:
    try:
        value = file.getexif().get(0x0112, 1)
    except Exception:  # EXIF that cannot be read says nothing of orientation; provenance reports it as broken
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    steps = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return picture.transpose(steps[orientation])


def _to_srgb(file: Image.Image) -> tuple[Image.Image, list[str]]:
    """An RGB picture in sRGB without alpha, and what was done to get there."""
    notes: list[str] = []
    picture: Image.Image = file
    if file.mode.startswith("I") or file.mode == "F":
        return _from_deep_grey(file)
    if file.mode == "LAB":
        raise refusal("unsupported_colour", "The picture is stored in CIELAB colour, which is not read here.")
    if "A" in file.getbands() or "transparency" in file.info or file.mode in {"PA", "La"}:
        picture = file.convert("RGBA")
        alpha = picture.getchannel("A")
        if alpha.getextrema() != (255, 255):
            ground = Image.new("RGB", picture.size, "white")
            ground.paste(picture, mask=alpha)
            picture = ground
            notes.append("Transparent parts were laid on white.")
        else:
            picture = picture.convert("RGB")
    profile = file.info.get("icc_profile")
    converted = _through_profile(picture, profile, notes) if profile else None
    if converted is not None:
        return converted, notes
    if picture.mode == "CMYK":
        notes.append("The picture is CMYK without a usable colour profile; its colours are approximate.")
    return picture.convert("RGB"), notes


def _through_profile(picture: Image.Image, profile: bytes, notes: list[str]) -> Image.Image | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if "srgb" in name.lower() and picture.mode in {"RGB", "L", "P", "1"}:
            return picture.convert("RGB")
        if picture.mode == "P":
            picture = picture.convert("RGB")
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("The colour profile does not fit the picture and was left out; colours are as stored.")
        return None
    notes.append(f"Colours were converted to sRGB from the profile “{name[:60]}”.")
    return converted


def _from_deep_grey(file: Image.Image) -> tuple[Image.Image, list[str]]:
    """Grey of 16 or 32 bits a pixel as 8 bits."""
    values = np.asarray(file).astype(np.float32)
    finite = np.isfinite(values)
    notes: list[str] = []
    if not finite.all():
        values = np.where(finite, values, 0)
        notes.append("Pixels without a value (NaN or infinite) were taken as black.")
    if file.mode.startswith("I;16") or (file.mode == "I" and values.min() >= 0 and values.max() <= 65535):
        scaled = values / 257.0
        notes.insert(0, "The picture is 16-bit grey; it was reduced to 8 bits.")
    else:
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
        notes.insert(0, f"The picture has 32-bit grey values; {low:g} to {high:g} were stretched to 8 bits.")
    grey = Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))
    return grey.convert("RGB"), notes


def _too_many_pixels(pixels: int, limits: Limits) -> ImageError:
    code = "decompression_bomb" if pixels > BOMB_FACTOR * limits.max_pixels else "too_many_pixels"
    return refusal(
        code,
        f"The picture claims {pixels / 1e6:.0f} megapixels; at most {limits.max_pixels / 1e6:.0f} are decoded.",
    )


def _too_many_frames(limits: Limits) -> ImageError:
    return refusal("too_many_frames", f"The file holds more than {limits.max_frames} frames or pages.")


_CUT_SHORT = re.compile(r"truncated|unexpected end|premature|not enough|end of file|incomplete", re.IGNORECASE)


def _undecodable(error: Exception) -> ImageError:
    text = str(error)
    if isinstance(error, ValueError) and "too large" in text.lower():  # Pillow's bound on compressed PNG text
        return refusal("metadata_too_large", "A text field of the file unpacks to more than is read.")
    if isinstance(error, EOFError | struct.error) or _CUT_SHORT.search(text):
        return refusal("truncated", "The file breaks off before the picture is complete.")
    if isinstance(error, UnidentifiedImageError | zlib.error | OSError | SyntaxError | ValueError):
        return refusal("corrupt", "The file begins like a picture, but its data cannot be decoded.")
    return refusal("corrupt", f"The file begins like a picture, but decoding it failed ({type(error).__name__}).")
