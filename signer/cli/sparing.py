"""The wiring of `signer share spare`, and the options of a second token."""

from pathlib import Path
from typing import Any

from signer.cli import wiring
from signer.cli.printer import Printer, printable
from signer.custody.desk import read_group
from signer.custody.devices import Device, add_spare
from signer.custody.jobs.sources import SecretSource
from signer.custody.mark import carry_mark, mark_path
from signer.errors import UsageError
from signer.files import read_file, require_new, write_new
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES


def make_spare(
    printer: Printer,
    *,
    group: Path,
    envelope: Path,
    card: Path,
    out: Path,
    profile: str,
    module: Path | None,
    label: str | None,
    serial: str | None,
    pin: SecretSource | None,
    **devices: Any,
) -> None:
    """Do what `signer share spare` is asked."""
    opener = Device(wiring.token_choice(profile, module, label, serial), pin)
    spare = other_device("spare", devices, profile, module)
    if spare is None:
        raise UsageError("--spare-token or --spare-serial must say which token is the spare")
    for path in (out, mark_path(out)):
        require_new(path)
    pool = read_group(group)
    index, sealed = add_spare(
        pool.to_bytes(),
        read_file(envelope, what="envelope", max_bytes=MAX_ENVELOPE_BYTES),
        read_file(card, what="card", max_bytes=MAX_CARD_BYTES),
        opener=opener,
        spare=spare,
    )
    carry_mark(envelope, out)
    write_new(out, sealed)
    printer.result(
        {"index": index, "envelope": str(out)},
        f"share {index} opens on the spare token too\n{printable(str(out))}\n"
        "Use this envelope from now on; the old one opens on the old tokens only.",
    )


def other_device(
    prefix: str, devices: dict[str, Any], profile: str, module: Path | None
) -> Device | None:
    """Return the token that the options with `prefix` choose, if they choose one."""
    values = {
        name: devices[f"{prefix}_{name}"]
        for name in ("label", "serial", "profile", "module", "pin_file")
    }
    if values["label"] is None and values["serial"] is None:
        if any(value is not None for value in values.values()):
            raise UsageError(f"--{prefix}-token or --{prefix}-serial must say which token")
        return None
    uri = wiring.token_uri(values["label"], f"--{prefix}-token")
    own_module = values["profile"] is not None or (uri is not None and uri.module is not None)
    choice = wiring.token_choice(
        values["profile"] or profile,
        values["module"] or (None if own_module else module),
        values["label"],
        values["serial"],
        prefix=f"{prefix}-",
    )
    file = wiring.pin_file_choice(values["pin_file"], values["label"], f"{prefix}-")
    return Device(choice, None if file is None else SecretSource(file=str(file.absolute())))
