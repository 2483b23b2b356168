"""Which options of `signer ceremony next` are for which ceremony, and for which step of it.

What can be of no use in a ceremony of this kind is a mistake, and refused. What this step does not
use is said: one command may be run again and again, until nothing is left to do.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from signer.ceremony.repair_steps import DELTA, REPLACE
from signer.ceremony.roster import RESHARE, SPLIT
from signer.ceremony.steps import DEAL, DESTROY
from signer.errors import UsageError

REPAIR = "repair"


class Use(NamedTuple):
    """What an option is for."""

    kinds: tuple[str, ...]
    steps: tuple[str, ...]


_KEY, _SPARE = Use((SPLIT,), (DEAL,)), Use((RESHARE,), (DESTROY,))
_USES = {
    "--envelope": Use((RESHARE, REPAIR), (DEAL, DESTROY, DELTA)),
    "--journal": Use((RESHARE,), (DEAL,)),
    "--no-journal": Use((RESHARE,), (DEAL,)),
    "--yes-destroy": Use((RESHARE,), (DESTROY,)),
    "--yes-first-failed": Use((REPAIR,), (DELTA, REPLACE)),
    "--mnemonic-file": _KEY,
    "--mnemonic": _KEY,
    "--passphrase-file": _KEY,
    "--key-index": _KEY,
    "--keystore": _KEY,
    "--password-file": _KEY,
    "--spare-token": _SPARE,
    "--spare-serial": _SPARE,
    "--spare-profile": _SPARE,
    "--spare-module": _SPARE,
    "--spare-pin-file": _SPARE,
}
_NAMES = {"ask_mnemonic": "--mnemonic", "spare_label": "--spare-token"}


def given_options(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of `_USES` that were given; `values` are the command's parameters."""
    names = {
        _NAMES.get(name, "--" + name.replace("_", "-"))
        for name, value in values.items()
        if value is not None and value is not False
    }
    return tuple(name for name in _USES if name in names)


def require_of_kind(given: Iterable[str], kind: str) -> None:
    """Refuse options that no step of such a ceremony uses, and two that contradict each other.

    Raises:
        UsageError: it names them.
    """
    if {"--journal", "--no-journal"} <= set(given):
        raise UsageError("give --journal or --no-journal, not both")
    if wrong := [name for name in given if kind not in _USES[name].kinds]:
        raise UsageError(f"a {kind} takes no {', '.join(wrong)}", hint="leave it out")


def unused(given: Iterable[str], step: str) -> list[str]:
    """Return the options that this step does not use."""
    return [name for name in given if step not in _USES[name].steps]
