"""The image tower of CLIP ViT-B/16, cut after a middle block: the network of the `semantic` detector.

The pinned int8 ONNX file (`tools.weights`, name `clip`) names the tensors of each transformer block. The graph is cut
behind the last block that is asked for, so that the rest costs neither time nor memory, and the class token after
each block is its output. A middle block and not the last: what a picture was made by shows there, what it shows is
the last block's business (RINE, Koutlis & Papadopoulos, ECCV 2024).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tools.tiles import Look, covered, sample, tiles

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SIDE = 224
"""Side of a view in pixels."""
WIDTH = 768
"""Length of the class token."""
BLOCKS = (5, 6, 7, 8)
"""Blocks whose class token is read, counted from 1."""
LEAST = 128
"""Shortest side that is looked at; between it and SIDE the picture is mirrored at its right and lower edge."""
UNIT = 16
"""Tiles begin at multiples of this. With 4:2:0 chroma a JPEG's units are 16 px wide, and in training they began where
the tile begins; eight pixels off, a picture of either class lost some 1.3 of its log-odds (finetune/RESULTS.md)."""
FLAT = 1.5
"""Standard deviation of luma, in grey levels, under which a tile is called flat."""
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


class Tower:
    """The tower up to the last of `BLOCKS`.

    Args:
        file: The pinned ONNX file; its hash is the caller's to check.
        threads: Threads that one view may use.
    """

    def __init__(self, file: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A thread that waits must not spin: other tools run beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        if not has_vnni():
            # Such an x86 CPU adds two products of 8 bits in 16, which overflows without a word: class tokens then have
            # a cosine of .6 to the right ones, and what is told from them is chance. This takes the kernels that do
            # not; where VNNI is, both give the same numbers and these take twice as long.
            options.add_session_config_entry("session.x64quantprecision", "1")
        self._outputs = [f"/vision_model/encoder/layers.{block - 1}/Add_1_output_0" for block in BLOCKS]
        self._session: InferenceSession = onnxruntime.InferenceSession(
            _cut(file, self._outputs), options, providers=["CPUExecutionProvider"]
        )

    def class_tokens(self, view: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The class token after each of `BLOCKS`, len(BLOCKS) x WIDTH, of one SIDExSIDEx3 sRGB view."""
        pixels = (view.astype(np.float32) / 255 - _MEAN) / _DEVIATION
        fed = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        tokens = self._session.run(self._outputs, {"pixel_values": fed})
        return np.stack([np.asarray(token)[0, 0] for token in tokens])


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether every product of 8 bits is summed in 32 on this CPU; False where that cannot be read."""
    try:
        told = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return bool({"avx512_vnni", "avx_vnni"} & set(told.split()))


def mirrored(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`rgb` continued by its own mirror image to at least SIDE px each way; a picture that large comes back as it is.

    Nothing is resized, since that would remove traces and add its own; and the first pixel stays where it was, so that
    a JPEG's blocks lie in the view as they lay in training.

    Raises:
        ValueError: if a side is shorter than LEAST.
    """
    height, width = rgb.shape[:2]
    if min(width, height) < LEAST:
        raise ValueError(f"a {width}x{height} picture is smaller than {LEAST} px")
    beyond = (0, max(0, SIDE - height)), (0, max(0, SIDE - width)), (0, 0)
    return np.pad(rgb, beyond, mode="symmetric") if any(map(any, beyond)) else rgb


def look(tower: Tower, rgb: npt.NDArray[np.uint8], most: int, seed: int) -> Look:
    """Class tokens, len(BLOCKS) * WIDTH a tile, of at most `most` tiles, drawn by `seed` where the picture holds more.

    Tiles of a picture that is smaller than one lie in `mirrored`, and reach beyond it. Up to 15 px at the right and
    lower edge may be left out, since tiles begin at multiples of UNIT.

    Raises:
        ValueError: if a side is shorter than LEAST.
    """
    rgb = mirrored(rgb)
    height, width = rgb.shape[:2]
    every = list(dict.fromkeys((left // UNIT * UNIT, top // UNIT * UNIT) for left, top in tiles(width, height, SIDE)))
    chosen = sample(every, most, seed)
    judged, rows, contrast = [], [], []
    for left, top in chosen:
        view = rgb[top : top + SIDE, left : left + SIDE]
        spread = float((view @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).std())
        if spread >= FLAT:
            judged.append((left, top))
            contrast.append(spread)
            rows.append(tower.class_tokens(view).reshape(-1))
    return Look(
        judged=judged,
        side=SIDE,
        features=np.stack(rows) if rows else np.zeros((0, len(BLOCKS) * WIDTH), dtype=np.float32),
        flat=len(chosen) - len(judged),
        possible=len(every),
        coverage=covered(chosen, SIDE, width, height),
        contrast=contrast,
        maps=[],
    )


def _cut(file: Path, outputs: list[str]) -> bytes:
    """The ONNX graph of `file` without what `outputs` do not need."""
    import onnx

    model: Any = onnx.load(str(file))
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    waiting, needed = list(outputs), set()
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    kept = [node for node in graph.node if node.output[0] in needed]
    read = {name for node in kept for name in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.output[:]
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 197, WIDTH]) for name in outputs
    )
    data: bytes = model.SerializeToString()
    return data
