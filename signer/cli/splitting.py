"""The wiring of `signer group split`: options in, one order to a worker, files out."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from signer.cli.wiring import network
from signer.custody.desk import read_policy
from signer.custody.jobs.sources import SecretSource
from signer.custody.jobs.splitting import SplitKey
from signer.custody.orders import split_key, terminal
from signer.errors import OutputError, UsageError
from signer.files import make_folder, read_file, write_new
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import Card, fingerprint
from signer.messages.group_file import GroupFile


@dataclass(frozen=True, slots=True)
class Split:
    """What was written: the group, and the envelopes' file names in share order."""

    group: GroupFile
    names: tuple[str, ...]


def split_among(
    *,
    cards: tuple[Path, ...],
    threshold: int,
    policy: Path,
    network_name: str | None,
    network_file: Path | None,
    mnemonic_file: Path | None,
    ask_mnemonic: bool,
    passphrase_file: Path | None,
    key_index: int,
    keystore: Path | None,
    password_file: Path | None,
    out: Path,
) -> tuple[Path, Split]:
    """Split the key and write the group file and the envelopes into the new folder `out`.

    Raises:
        UsageError: not exactly one source of the key.
        OutputError: `out` is there already.
        SignerError: whatever the parts say.
    """
    if [mnemonic_file is not None, ask_mnemonic, keystore is not None].count(True) != 1:
        raise UsageError("give one of --mnemonic-file, --mnemonic, --keystore")
    if out.exists():
        raise OutputError(f"{str(out)!r} exists and is not overwritten", hint="name a new folder")
    chain = network(network_name, network_file)
    texts = [read_file(path, what="card", max_bytes=MAX_CARD_BYTES) for path in cards]
    for path, text in zip(cards, texts, strict=True):
        Card.parse_file(text, f"card {str(path)!r}")
    with contextlib.ExitStack() as stack:

        def source(file: Path | None, what: str, option: str) -> SecretSource:
            if file is not None:
                return SecretSource(file=str(file.absolute()))
            if not asked:
                asked.append(stack.enter_context(terminal(what, option)))
            return SecretSource(terminal=asked[0])

        asked: list[int] = []
        from_words = keystore is None
        passphrase = None
        if passphrase_file is not None:
            passphrase = source(passphrase_file, "the passphrase", "--passphrase-file")
        job = SplitKey(
            mnemonic=source(mnemonic_file, "the mnemonic", "--mnemonic-file")
            if from_words
            else None,
            passphrase=passphrase,
            key_index=key_index,
            keystore=None if keystore is None else str(keystore.absolute()),
            password=None
            if from_words
            else source(password_file, "the password", "--password-file"),
            threshold=threshold,
            cards=tuple(text.decode() for text in texts),
            network=chain,
            role="withdrawal",
            policy_digest=read_policy(policy).digest,
        )
        result = split_key(job, tuple(asked))
    make_folder(out)
    names = tuple(f"share-{index}.envelope.json" for index in result.group.indices)
    for name, envelope in zip(names, result.envelopes, strict=True):
        write_new(out / name, envelope, mode=0o600)
    write_new(out / "group.json", result.group.to_bytes())
    return out, Split(result.group, names)


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
