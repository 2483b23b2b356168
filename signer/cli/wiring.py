"""From option values to the values that commands work with."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from signer.custody.jobs.sources import DISPLAY_VARIABLES, SecretSource, TokenChoice
from signer.errors import PinError, UsageError
from signer.files import read_file
from signer.hsm.profile import load_profile
from signer.messages.card import NAME_PATTERN
from signer.messages.networks import MAX_FILE_BYTES, Network, find_network, parse_network_file
from signer.threshold.params import ShareIndex

_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def token_choice(
    profile: str, module: Path | None, label: str | None, serial: str | None
) -> TokenChoice:
    """Return the token that the shared options choose."""
    for option, value in (("--token", label), ("--serial", serial)):
        if value is not None and not 1 <= len(value) <= 32:
            raise UsageError(f"{option} takes 1 to 32 characters")
    known = load_profile(profile)
    if known.touch != "none":
        click.echo("this device wants a touch: touch it when it blinks", err=True)
    return TokenChoice(
        profile=known,
        module=None if module is None else str(module.absolute()),
        label=label,
        serial=serial,
    )


def pin_choice(
    *, pin_file: Path | None, pin_fd: int | None, pinentry: Path | None, pin_pad: bool,
    final_try: bool,
) -> SecretSource | None:  # fmt: skip
    """Return where the options say the PIN comes from; None is the terminal.

    Raises:
        UsageError: several sources, or the last try to be spent with nobody there.
        PinError: the descriptor is not open.
    """
    sources = {
        "--pin-file": pin_file,
        "--pin-fd": pin_fd,
        "--pinentry": pinentry,
        "--pin-pad": pin_pad or None,
    }
    given = [option for option, value in sources.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give one of {', '.join(given)}")
    if final_try and (pin_file is not None or pin_fd is not None):
        raise UsageError(f"--final-try does not go with {given[0]}: a person has to be there")
    if not given and not final_try:
        return None
    if pin_fd is not None:
        _require_open(pin_fd)
    display = {} if pinentry is None else {
        name: os.environ[name][:256] for name in DISPLAY_VARIABLES if os.environ.get(name)
    }  # fmt: skip
    return SecretSource(
        file=None if pin_file is None else str(pin_file.absolute()),
        pipe=pin_fd,
        pinentry=None if pinentry is None else _program(pinentry),
        pad=pin_pad,
        display=display,
        final_try=final_try,
    )


def _require_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        raise PinError(
            f"descriptor {descriptor} is not open", hint=f"give the PIN with {descriptor}<FILE"
        ) from None


def _program(path: Path) -> str:
    """Return where a program is; a bare name is looked for as a shell does."""
    bare = len(path.parts) == 1
    return (shutil.which(str(path)) if bare else None) or str(path.absolute())


def holder_name(name: str) -> str:
    """Return `name` if a card may carry it."""
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise UsageError(
            "--name takes 1 to 64 ASCII letters, digits, spaces, dots, dashes, underscores"
        )
    return name


def network(name: str | None, file: Path | None) -> Network:
    """Return the built-in network `name`, or the custom one that `file` describes."""
    if file is None:
        if name is None:
            raise UsageError("--network NAME or --network-file FILE is needed")
        return find_network(name)
    raw = read_file(file, what="network file", max_bytes=MAX_FILE_BYTES)
    custom = parse_network_file(raw, f"network file {str(file)!r}")
    return custom if name is None else find_network(name, custom)


def shares(option: str, values: Sequence[int], holders: int) -> tuple[ShareIndex, ...]:
    """Return the shares that an option names, ascending.

    Raises:
        UsageError: one that the group does not have, or the same one twice.
    """
    for value in values:
        if not 1 <= value <= holders:
            raise UsageError(f"{option} {value}: the group has shares 1 to {holders}")
        if values.count(value) > 1:
            raise UsageError(f"{option} {value} is given twice")
    return tuple(ShareIndex(value) for value in sorted(values))


def seconds(text: str) -> int:
    """Return the seconds that `90m`, `12h` or `14d` stand for."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if match is None:
        raise UsageError(f"{text[:20]!r} is no length of time", hint="write 90m, 12h or 14d")
    return int(match[1]) * _SECONDS[match[2]]
