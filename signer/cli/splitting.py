"""The wiring of `signer group split`: options in, one order to a worker, files out."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.cli.wiring import network
from signer.custody.desk import read_policy
from signer.custody.jobs.sources import SecretSource
from signer.custody.jobs.splitting import SplitKey
from signer.custody.orders import split_key, terminal
from signer.errors import OutputError, PolicyError, UsageError
from signer.files import make_folder, read_file, write_new
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import Card, fingerprint
from signer.messages.group_file import GroupFile


@dataclass(frozen=True, slots=True)
class Split:
    """What was written: the group, and the envelopes' file names in share order."""

    group: GroupFile
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOptions:
    """Where the key comes from, as the options say it."""

    mnemonic_file: Path | None
    ask_mnemonic: bool
    passphrase_file: Path | None
    key_index: int | None
    keystore: Path | None
    password_file: Path | None

    def require_one_source(self) -> None:
        """Refuse none and several, and options that belong to another source.

        Raises:
            UsageError: it is not clear which key is meant.
        """
        sources = (self.mnemonic_file is not None, self.ask_mnemonic, self.keystore is not None)
        if sources.count(True) != 1:
            raise UsageError("give one of --mnemonic-file, --mnemonic, --keystore")
        if self.keystore is None and self.password_file is not None:
            raise UsageError("--password-file is a keystore's; a mnemonic has --passphrase-file")
        if self.keystore is not None and (self.passphrase_file or self.key_index is not None):
            raise UsageError("--passphrase-file and --key-index are a mnemonic's, not a keystore's")


def split_among(
    *,
    cards: tuple[Path, ...],
    threshold: int,
    policy: Path,
    network_name: str | None,
    network_file: Path | None,
    role: str,
    out: Path,
    **key_options: Any,
) -> tuple[Path, Split]:
    """Split the key and write the group file and the envelopes into the new folder `out`.

    Raises:
        UsageError: not exactly one source of the key.
        OutputError: `out` is there already.
        SignerError: whatever the parts say.
    """
    key = KeyOptions(**key_options)
    key.require_one_source()
    if out.exists():
        raise OutputError(f"{str(out)!r} exists and is not overwritten", hint="name a new folder")
    chain = network(network_name, network_file)
    agreed = read_policy(policy)
    if not agreed.useful_to(role):
        raise PolicyError(
            f"under this policy a {role} key can sign nothing, and the policy cannot be changed "
            "without every holder",
            hint="list addresses for a withdrawal key; allow exits or deposits for a validator's",
        )
    texts = [_card_text(path) for path in cards]
    with contextlib.ExitStack() as stack:
        secrets = _Secrets(stack)
        job = SplitKey(
            mnemonic=None if key.keystore else secrets.source(key.mnemonic_file, "mnemonic"),
            passphrase=secrets.source(key.passphrase_file, "passphrase")
            if key.passphrase_file
            else None,
            key_index=key.key_index or 0,
            keystore=None if key.keystore is None else str(key.keystore.absolute()),
            password=secrets.source(key.password_file, "password") if key.keystore else None,
            threshold=threshold,
            cards=tuple(texts),
            network=chain,
            role=role,
            policy_digest=agreed.digest,
        )
        result = split_key(job, secrets.terminals)
    make_folder(out)
    names = tuple(f"share-{index}.envelope.json" for index in result.group.indices)
    for name, envelope in zip(names, result.envelopes, strict=True):
        write_new(out / name, envelope, mode=0o600)
    write_new(out / "group.json", result.group.to_bytes())
    return out, Split(result.group, names)


class _Secrets:
    """Hands out where the worker reads secrets; opens the terminal once, if it is needed."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.terminals: tuple[int, ...] = ()

    def source(self, file: Path | None, what: str) -> SecretSource:
        if file is not None:
            return SecretSource(file=str(file.absolute()))
        if not self.terminals:
            opened = self._stack.enter_context(terminal(f"the {what}", f"--{what}-file FILE"))
            self.terminals = (opened,)
        return SecretSource(terminal=self.terminals[0])


def _card_text(path: Path) -> str:
    """Read a card and verify it, to name its file if it does not hold; return its text."""
    raw = read_file(path, what="card", max_bytes=MAX_CARD_BYTES)
    Card.parse_file(raw, f"card {str(path)!r}")
    return raw.decode()


def split_text(out: Path, split: Split) -> str:
    """Return what was written and what to do next, in words."""
    group = split.group
    lines = [
        f"{group.threshold.t} of {group.threshold.n} for 0x{bytes(group.public_key).hex()}",
        f"group file   {out / 'group.json'}   {fingerprint(group.digest)}",
    ]
    for card, name in zip(group.cards, split.names, strict=True):
        lines.append(f"for {card.body.name:<12} {out / name}")
    lines += [
        "",
        "Now: give each holder the group file, the policy and his envelope; each runs",
        "`signer share verify`. When all have, destroy the mnemonic or keystore.",
    ]
    return "\n".join(lines)
