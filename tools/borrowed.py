"""Models of others that `inversion_sd` reads: which ones are configured, and whether they are on this machine.

Tools know no settings: whoever runs them calls `use_inversion_model` once at the start of a process. Nothing is fetched
and nothing heavy is imported here; `tools.latent` loads what this module finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tools.errors import MissingWeightError

_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A model on this machine.

    Attributes:
        name: What reports call it: its name on the hub, or its folder's name without the path.
        folder: Of a pipeline (`vae/`, `unet/`, ...) or of a bare autoencoder (`config.json`).
    """

    name: str
    folder: Path


def use_inversion_model(names: str | None) -> None:
    """Says which models to read in this process.

    Args:
        names: Folders, or names of models in the Hugging Face cache, separated by commas; None or empty for none.
    """
    global _names
    _names = tuple(name.strip() for name in (names or "").split(",") if name.strip())


def inversion_models() -> tuple[Borrowed, ...]:
    """The models that are configured, in their order; there is at least one.

    Raises:
        MissingWeightError: if none is configured, diffusers is not installed, or a model is not on this machine.
    """
    if not _names:
        raise MissingWeightError(
            "No Stable Diffusion model is configured.",
            remedy="Name one in EXPOSIT_INVERSION_MODEL: a folder, or a model in the Hugging Face cache.",
        )
    if find_spec("diffusers") is None:
        raise MissingWeightError(
            "The package diffusers is not installed.", remedy="Run `pip install 'exposit[inversion]'`."
        )
    return tuple(_find(name) for name in _names)


def missing() -> str | None:
    """What keeps `inversion_models` from an answer, in a sentence; None where nothing does."""
    try:
        inversion_models()
    except MissingWeightError as error:
        return str(error)
    return None


def _find(name: str) -> Borrowed:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Borrowed(folder.resolve().name, folder)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        for file in ("model_index.json", "config.json"):
            held = try_to_load_from_cache(name, file)
            if isinstance(held, str):
                return Borrowed(name, Path(held).parent)
    except HFValidationError:  # the path of a folder that is not there
        raise MissingWeightError(
            f"The folder {folder.name} that EXPOSIT_INVERSION_MODEL names does not exist.", remedy="Correct the path."
        ) from None
    raise MissingWeightError(
        f"The model {name} that EXPOSIT_INVERSION_MODEL names is neither a folder nor in the Hugging Face cache.",
        remedy=f"Run `hf download {name}` once.",
    )
