"""Every kind of file is either decoded upright in sRGB or refused with its own code, at a bounded cost."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tests.conftest import ROOT, encoded, picture
from tools.errors import ImageError
from tools.image import REFUSALS, Limits, SourceImage


def png(width: int, height: int, *, packed: bytes | None = None, extra: bytes = b"") -> bytes:
    """A grey PNG of any claimed size whose pixels are `packed` by zlib, black if not given."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", packed if packed is not None else zlib.compress(b"\0" * (width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + header + extra + data + chunk(b"IEND", b"")


def text_chunk(size: int) -> bytes:
    body = b"Comment\0" + b"x" * size
    return struct.pack(">I", len(body)) + b"tEXt" + body + struct.pack(">I", zlib.crc32(b"tEXt" + body))


def packed_text_chunk(size: int) -> bytes:
    body = b"Comment\0\0" + zlib.compress(b"x" * size)
    return struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))


def gif(frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 32, 32, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 32, 32, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame * frames + b";"


JPEG = encoded(picture(), quality=90)
REFUSED = {
    "empty_file": b"",
    "file_too_large": JPEG + b"\0" * 70 * 2**20,
    "not_an_image": b"This is not a picture.\n" * 40,
    "unsupported_format": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + b"x" * 99,
    "truncated": JPEG[: len(JPEG) // 2],
    "corrupt": encoded(picture(), "PNG")[:60] + b"\x07" * 4000,
    "decompression_bomb": png(20000, 20000, packed=b""),
    "too_many_pixels": png(9000, 9000),
    "too_many_frames": gif(2001),
    "metadata_too_large": png(64, 64, extra=text_chunk(9 * 2**20)),
    "too_small": encoded(Image.new("RGB", (1, 1)), "PNG"),
    "unsupported_colour": encoded(Image.new("LAB", (64, 64)), "TIFF"),
}


def test_each_refusal_has_a_file_here() -> None:
    assert set(REFUSED) == set(REFUSALS)


@pytest.mark.parametrize("code", REFUSED)
def test_refused_with_its_own_code_and_a_remedy(code: str) -> None:
    with pytest.raises(ImageError) as caught:
        SourceImage.open(REFUSED[code])
    assert caught.value.code == code
    assert caught.value.remedy == REFUSALS[code]
    assert caught.value.message.endswith(".")
    assert "/" not in caught.value.message.replace("ISO", "")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (packed_text_chunk(70 * 2**20), "metadata_too_large"),
        (b"", "ok"),
    ],
)
def test_a_text_that_unpacks_to_70_mib(data: bytes, code: str) -> None:
    file = png(64, 64, extra=data)
    if code == "ok":
        assert SourceImage.open(file).width == 64
    else:
        with pytest.raises(ImageError) as caught:
            SourceImage.open(file)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"just words", "text"),
        (bytes(range(128, 256)) * 4, "no picture format"),
    ],
)
def test_what_is_no_picture_is_told_apart(data: bytes, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        SourceImage.open(data)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats_are_read(fmt: str) -> None:
    source = picture()
    options = {"lossless": True} if fmt == "WebP" else {"quality": 95} if fmt in ("JPEG", "AVIF") else {}
    image = SourceImage.open(encoded(source, fmt, **options))
    assert (image.format.lower(), image.width, image.height) == (fmt.lower(), 256, 192)
    tolerance = {"JPEG": 6, "AVIF": 8, "GIF": 20}.get(fmt, 0)
    assert np.abs(image.rgb.astype(int) - np.asarray(source)).mean() <= tolerance
    assert not image.rgb.flags.writeable


def test_every_exif_orientation_comes_out_upright() -> None:
    source = np.asarray(picture(96, 64))
    stored = {
        1: source, 2: source[:, ::-1], 3: source[::-1, ::-1], 4: source[::-1], 5: source.transpose(1, 0, 2),
        6: np.rot90(source), 7: np.rot90(source, 2).transpose(1, 0, 2), 8: np.rot90(source, -1),
    }  # fmt: skip
    for value, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = value
        image = SourceImage.open(encoded(Image.fromarray(np.ascontiguousarray(pixels)), "PNG", exif=exif))
        assert image.orientation == value
        assert np.array_equal(image.rgb, source), f"orientation {value}"
        assert any("upright" in note for note in image.notes) == (value != 1)


def test_sixteen_bit_grey_keeps_its_values_and_says_so() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    image = SourceImage.open(encoded(Image.fromarray(ramp), "PNG"))
    assert np.abs(image.rgb[0, :, 0].astype(float) - ramp[0] / 257).max() <= 0.5
    assert "16-bit" in image.notes[0]


def test_float_picture_with_nan_is_read_and_says_so() -> None:
    values = np.tile(np.linspace(-2, 2, 64, dtype=np.float32), (64, 1))
    values[0, 0] = np.nan
    image = SourceImage.open(encoded(Image.fromarray(values), "TIFF"))
    assert image.rgb[1, 0, 0] == 0
    assert image.rgb[1, 63, 0] == 255
    assert any("NaN" in note for note in image.notes)


def test_cmyk_palette_alpha_and_bilevel() -> None:
    cmyk = SourceImage.open(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(cmyk.rgb.astype(int) - np.asarray(picture())).mean() < 6
    assert any("CMYK" in note for note in cmyk.notes)
    red = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    red.paste((255, 0, 0, 255), (0, 0, 32, 64))
    alpha = SourceImage.open(encoded(red, "PNG"))
    assert tuple(alpha.rgb[0, 0]) == (255, 0, 0)
    assert tuple(alpha.rgb[0, 63]) == (255, 255, 255)
    assert "white" in alpha.notes[0]
    assert SourceImage.open(encoded(picture().quantize(16), "PNG")).mode == "P"
    assert SourceImage.open(encoded(picture().convert("1"), "PNG")).rgb.max() == 255


def test_colour_profile_is_converted() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    broken = SourceImage.open(encoded(picture(), "PNG", icc_profile=b"not a profile"))
    assert np.array_equal(broken.rgb, np.asarray(picture()))
    assert "left out" in broken.notes[0]
    plain = SourceImage.open(encoded(picture(), "PNG", icc_profile=srgb))
    assert np.abs(plain.rgb.astype(int) - np.asarray(picture())).max() <= 1
    other = SourceImage.open(encoded(picture(), "PNG", icc_profile=swapped))
    assert "sRGB" in other.notes[0]
    shift = other.rgb.astype(int).mean((0, 1)) - plain.rgb.astype(int).mean((0, 1))
    assert abs(shift).max() > 5  # red and blue primaries changed places


@pytest.mark.parametrize("fmt", ["GIF", "WebP", "PNG", "TIFF"])
def test_animation_is_judged_on_its_first_frame_and_says_so(fmt: str) -> None:
    first, second = picture(64, 64, 1), picture(64, 64, 2)
    options = {"lossless": True} if fmt == "WebP" else {}
    data = encoded(first, fmt, save_all=True, append_images=[second], **options)
    image = SourceImage.open(data)
    assert image.frames == 2
    assert "number 1, the first" in image.notes[0]
    tolerance = 20 if fmt == "GIF" else 0
    assert np.abs(image.rgb.astype(int) - np.asarray(first)).mean() <= tolerance


PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def test_bomb_costs_little_memory() -> None:
    """The peak of a fresh process that refuses a 20000x20000 PNG of real length."""
    program = (
        "import sys; from tools.image import SourceImage; from tools.errors import ImageError\n"
        "data = sys.stdin.buffer.read()\n"
        "try: SourceImage.open(data)\nexcept ImageError as error: print(error.code)\n"
    ) + PEAK
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * 20001 * 1000) for _ in range(20)) + packer.flush()
    bomb = png(20000, 20000, packed=rows)
    run = subprocess.run([sys.executable, "-c", program], input=bomb, capture_output=True, cwd=ROOT, check=True)
    code, peak = run.stdout.split()
    assert code == b"decompression_bomb"
    assert int(peak) < 200 * 1024


def test_64_megapixels_stay_bounded() -> None:
    program = (
        "from tools.image import SourceImage; import io; from PIL import Image\n"
        "buffer = io.BytesIO(); Image.new('L', (8000, 8000), 90).save(buffer, 'PNG')\n"
        "image = SourceImage.open(buffer.getvalue()); image.luma; print(image.width)\n"
    ) + PEAK
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=True)
    width, peak = map(int, run.stdout.split())
    assert width == 8000
    assert peak < 800 * 1024  # 192 MB of pixels, 256 MB of luma, one working copy


def test_metadata_in_jpeg_is_bounded() -> None:
    segment = b"\xff\xfe\xff\xff" + b"x" * 65533
    with pytest.raises(ImageError) as caught:
        SourceImage.open(JPEG[:2] + segment * 140 + JPEG[2:])
    assert caught.value.code == "metadata_too_large"
    assert SourceImage.open(JPEG[:2] + segment * 20 + JPEG[2:]).width == 256


def test_limits_are_the_callers() -> None:
    with pytest.raises(ImageError) as caught:
        SourceImage.open(JPEG, limits=Limits(max_pixels=1000))
    assert caught.value.code == "decompression_bomb"
    with pytest.raises(ImageError) as caught:
        SourceImage.open(JPEG, limits=Limits(max_pixels=40_000))
    assert caught.value.code == "too_many_pixels"


def test_luma_is_bt601() -> None:
    image = SourceImage.open(encoded(picture(300, 600), "PNG"))
    expected = image.rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(image.luma - expected).max() < 0.01


SEEDS = [
    JPEG,
    encoded(picture(64, 48), "PNG"),
    encoded(picture(64, 48), "WebP"),
    encoded(picture(64, 48), "GIF", save_all=True, append_images=[picture(64, 48, 3)]),
    encoded(picture(64, 48), "TIFF"),
    encoded(picture(64, 48), "BMP"),
    encoded(picture(64, 48), "AVIF"),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0.05, 1),
)
def test_a_mutated_file_decodes_or_is_refused(seed: bytes, edits: list[tuple[float, bytes]], keep: float) -> None:
    data = bytearray(seed)
    for at, value in edits:
        start = int(at * (len(data) - 1))
        data[start : start + len(value)] = value
    data = data[: max(1, int(keep * len(data)))]
    try:
        image = SourceImage.open(bytes(data), limits=Limits(max_pixels=4_000_000))
    except ImageError as error:
        outcome = error.code
    else:
        assert image.rgb.dtype == np.uint8
        outcome = image.rgb.shape
    assert outcome in REFUSALS or outcome == (image.height, image.width, 3)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        SourceImage.open(data)


def test_shared_odd_files(shared: Path) -> None:
    """What each odd file of the shared data turns out to be."""
    found = {}
    for path in sorted((shared / "odd").iterdir()):
        try:
            image = SourceImage.open(path.read_bytes(), path.name)
            found[path.name] = (image.format, image.width, image.height, image.orientation)
        except ImageError as error:
            found[path.name] = error.code
    assert found == {
        "36-memory_error.jpg": ("JPEG", 1600, 1200, 1),
        "Arbitro.tiff": ("TIFF", 174, 38, 1),
        "IMG_5195.HEIC": ("HEIC", 2566, 3313, 1),
        "image00971.jpg": ("JPEG", 636, 227, 1),
        "landscape_3.jpg": ("JPEG", 600, 450, 3),
        "no_exif.jpg": ("JPEG", 322, 466, 1),
        "portrait_6.jpg": ("JPEG", 450, 600, 6),
    }


def test_maps_are_kept_by_hash() -> None:
    image = SourceImage.open(JPEG)
    reference = image.maps.add("heat", np.linspace(0, 1, 64).reshape(8, 8), "a ramp")
    with Image.open(io.BytesIO(image.maps.png[reference.sha256])) as drawn:
        assert drawn.size == (8, 8)
        assert np.asarray(drawn)[7, 7] == 255
