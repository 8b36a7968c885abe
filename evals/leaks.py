"""The leak audit: can the classes be told apart without looking at a pixel?

A classifier that sees only width, height, mode, container, JPEG tables and the length of the file is cross-validated on
exactly the files that the tools score. Where it succeeds, a detector's figure on the same files proves nothing. Figures
are told for *format* (everything but length) and for *bytes* apart: at one size and one distribution of JPEG qualities
the length of a file tells how detailed the picture is. That is a true property of the content, not a trace of the file
format, but it is no trace of a generator either, so it is shown all the same.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals import metrics
from evals.results import LEAK_BAR, Figure, Leak

Array = npt.NDArray[np.float64]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "HEIF")
MODES = ("RGB", "L", "RGBA", "P", "CMYK", "LA", "1")
FORMAT_FEATURES = (
    "width", "height", "sides", "container", "mode", "luma_table", "chroma_table", "table_shape", "subsampling",
    "progressive", "exif", "icc",
)  # fmt: skip
FEATURES = (*FORMAT_FEATURES, "log_bytes", "bytes_per_pixel")
FOLDS = 5
_FEWEST = 10


def features(data: bytes) -> tuple[float, ...]:
    """What a file tells without its pixels, in the order of `FEATURES`; only its header is read.

    Containers and modes enter by their place in a list; JPEG tables by the mean step of each and the share of the
    first (the shape of a table tells its maker apart from another's at one quality).
    """
    with Image.open(io.BytesIO(data)) as file:
        width, height = file.size
        tables = getattr(file, "quantization", None) or {}
        means = [math.log(float(np.mean(tables[number]))) if number in tables else -1.0 for number in (0, 1)]
        shape = float(tables[0][0]) / float(np.mean(tables[0])) if 0 in tables else -1.0
        layers = getattr(file, "layer", None) or []
        sampling = float(layers[0][1] * 10 + layers[0][2]) if layers and len(layers[0]) > 2 else -1.0
        return (
            float(width), float(height), width / height, _place(file.format or "", FORMATS), _place(file.mode, MODES),
            *means, shape, sampling, float(bool(file.info.get("progressive"))), float("exif" in file.info),
            float("icc_profile" in file.info), math.log(len(data)), len(data) / (width * height),
        )  # fmt: skip


def _place(name: str, names: Sequence[str]) -> float:
    return float(names.index(name)) if name in names else float(len(names))


def audit(
    table: npt.ArrayLike, labels: npt.ArrayLike, pictures: Sequence[str], *, seed: int, draws: int = 400
) -> tuple[Leak, ...]:
    """The audit of one protocol.

    Args:
        table: (n, len(FEATURES)), a row a file.
        labels: (n,) 0 or 1.
        pictures: (n,) what must not be split between folds: the picture or pair that a file comes from.
        seed: Of the folds and the bootstrap.
        draws: Bootstrap replicates.

    Returns:
        A `Leak` for format, for bytes and for all; none where a class has fewer than ten pictures.
    """
    x, y = np.asarray(table, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    names = np.asarray(pictures, dtype=str)
    if min(len(set(names[y == label])) for label in (0, 1)) < _FEWEST:
        return ()
    split = len(FORMAT_FEATURES)
    whole = np.arange(len(FEATURES))
    return (
        _audited("format", x[:, whole < split], y, names, seed, draws),
        _audited("bytes", x[:, whole >= split], y, names, seed, draws),
        _audited("all", x, y, names, seed, draws),
    )


def _audited(
    which: Literal["format", "bytes", "all"], x: Array, y: npt.NDArray[np.int64], names: npt.NDArray[np.str_],
    seed: int, draws: int,
) -> Leak:  # fmt: skip
    """The better of two classifiers: one may miss what the other sees."""
    found = []
    for learner in ("logistic regression", "boosted trees"):
        scores = _cross_validated(learner, x, y, names, seed)
        found.append((learner, metrics.bootstrap(metrics.auroc, y, scores, list(names), seed=seed, draws=draws)))
    learner, best = max(found, key=lambda pair: pair[1].value)
    figure = Figure.of(best)
    if best.value <= LEAK_BAR:
        verdict: Literal["clean", "leaks", "unsure"] = "clean"
    else:
        verdict = "leaks" if best.low > 0.5 else "unsure"
    return Leak(features=which, learner=learner, auroc=figure, verdict=verdict)


def _cross_validated(learner: str, x: Array, y: npt.NDArray[np.int64], names: npt.NDArray[np.str_], seed: int) -> Array:
    """Held-out scores as ranks within their fold, so that folds can be pooled without favouring either class."""
    from scipy.stats import rankdata
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = np.empty(len(y), dtype=np.float64)
    for known, held in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, y, names):
        if learner == "boosted trees":
            model = HistGradientBoostingClassifier(max_iter=60, max_depth=3, min_samples_leaf=10, random_state=seed)
        else:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model.fit(x[known], y[known])
        scores[held] = rankdata(np.round(model.decision_function(x[held]), 9)) / len(held)
    return scores
