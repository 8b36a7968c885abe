"""The image tower of the composed model: CLIP ViT-B/16, dequantised from the int8 ONNX file that is pinned.

The file keeps Hugging Face's parameter names for what is stored as floats. A quantised matrix lies under an exporter's
name, and the node that multiplies by it is named for the layer it belongs to: `W = (q - zero point) * scale`,
transposed. Nothing is guessed: `parameters` fails unless every tensor of the tower was found.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.errors import IntegrityError

PATCH, SIDE, WIDTH = 16, 224, 768
"""Side of a patch and of a view in pixels, and length of a token."""
_NODE = re.compile(r"^/(vision_model/encoder/layers\.\d+/(?:self_attn|mlp)/\w+)/MatMul_quant$")


def parameters(file: Path, depth: int) -> dict[str, npt.NDArray[np.float32]]:
    """The float32 parameters of the tower's first `depth` blocks, by Hugging Face's names without `vision_model.`.

    Args:
        file: The pinned ONNX file; its hash is the caller's to check.
        depth: Blocks to read, 1 to 12.

    Raises:
        IntegrityError: if the file does not hold every tensor of the tower.
    """
    import onnx
    from onnx import numpy_helper

    graph: Any = onnx.load(str(file)).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, npt.NDArray[np.float32]] = {}
    for name, tensor in stored.items():
        if name.startswith("vision_model."):
            found[name.removeprefix("vision_model.")] = numpy_helper.to_array(tensor).astype(np.float32)
    for node in graph.node:
        match = _NODE.match(node.name)
        if match is None:
            continue
        quantised = str(node.input[1])
        if not quantised.endswith("_quantized") or quantised not in stored:
            raise IntegrityError(f"{file.name}: {node.name} does not multiply by a quantised matrix.")
        stem = quantised.removesuffix("_quantized")
        q, scale, zero = (numpy_helper.to_array(stored[stem + end]) for end in ("_quantized", "_scale", "_zero_point"))
        weight = (q.astype(np.float32) - zero.astype(np.float32)) * scale.astype(np.float32)
        name = match[1].replace("/", ".").removeprefix("vision_model.") + ".weight"
        found[name] = np.ascontiguousarray(weight.T)
    wanted = {name: value for name, value in found.items() if _within(name, depth)}
    # Per block: 4 + 2 matrices with their biases, and two norms; beside them embeddings (3) and the outer norms (4).
    if len(wanted) != depth * 16 + 7:
        raise IntegrityError(
            f"{file.name} holds {len(wanted)} of the {depth * 16 + 7} tensors of a CLIP ViT-B/16 of {depth} blocks.",
            remedy="Delete it and run `exposit models pull clip`.",
        )
    return wanted


def _within(name: str, depth: int) -> bool:
    match = re.match(r"encoder\.layers\.(\d+)\.", name)
    return match is None or int(match[1]) < depth
