"""From option values to the values that commands work with."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from signer.custody.jobs.sources import DISPLAY_VARIABLES, SecretSource, TokenChoice
from signer.errors import PinError, SchemaError, UsageError
from signer.files import read_file
from signer.hsm.profile import load_profile
from signer.hsm.uri import TokenUri, is_uri
from signer.messages.card import NAME_PATTERN
from signer.messages.networks import MAX_FILE_BYTES, Network, find_network, parse_network_file
from signer.threshold.params import ShareIndex

_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def token_choice(
    profile: str, module: Path | None, label: str | None, serial: str | None, *, prefix: str = ""
) -> TokenChoice:
    """Return the token that the shared options choose; with `prefix`, those of another token.

    Raises:
        UsageError: `label` is no label and no URI of a token, or another option contradicts it.
    """
    option = f"--{prefix}token"
    uri = token_uri(label, option)
    texts = ((f"--{prefix}serial", serial), (option, label if uri is None else None))
    for name, value in texts:
        if value is not None and not 1 <= len(value) <= 32:
            raise UsageError(f"{name} takes 1 to 32 characters")
    place = None if module is None else str(module.absolute())
    if uri is not None:
        if serial is not None and uri.serial not in (None, serial):
            raise UsageError(f"--{prefix}serial is another than the serial of {option}'s URI")
        if place is not None and uri.module not in (None, place):
            raise UsageError(f"--{prefix}module is another than the module-path of {option}'s URI")
    known = load_profile(profile)
    if known.touch != "none":
        click.echo("this device wants a touch: touch it when it blinks", err=True)
    if uri is None:
        return TokenChoice(profile=known, module=place, label=label, serial=serial)
    choice = TokenChoice.by_uri(known, uri, place or uri.module)
    return choice if serial is None else replace(choice, serial=serial)


def token_uri(text: str | None, option: str) -> TokenUri | None:
    """Return the URI that was given as `option`; None if a label was, or nothing.

    Raises:
        UsageError: a URI, but none that can be used.
    """
    if text is None or not is_uri(text):
        return None
    try:
        return TokenUri.parse(text, option)
    except SchemaError as error:
        raise UsageError(error.message, hint=error.hint) from None


def pin_file_choice(file: Path | None, token: str | None, prefix: str = "") -> Path | None:
    """Return the PIN file that an option names, or the URI of the token it is for.

    Raises:
        UsageError: they name two.
    """
    option = f"--{prefix}token"
    uri = token_uri(token, option)
    if uri is None or uri.pin_file is None:
        return file
    if file is not None and str(file.absolute()) != uri.pin_file:
        raise UsageError(
            f"--{prefix}pin-file is another than the pin-source of {option}'s URI",
            hint="leave one out",
        )
    return Path(uri.pin_file)


def pin_choice(
    *, pin_file: Path | None, pin_fd: int | None, pinentry: Path | None, pin_pad: bool,
    final_try: bool, token: str | None = None,
) -> SecretSource | None:  # fmt: skip
    """Return where the options say the PIN comes from; None is the terminal.

    The URI of a `token` may say it too, like --pin-file.

    Raises:
        UsageError: several sources, or the last try to be spent with nobody there.
        PinError: the descriptor is not open.
    """
    by_option, pin_file = pin_file, pin_file_choice(pin_file, token)
    file_option = "--pin-file" if by_option is not None or pin_file is None else "pin-source"
    sources = {
        file_option: pin_file,
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
