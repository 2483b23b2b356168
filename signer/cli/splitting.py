"""The wiring of `signer group split`: options in, one order to a worker, files out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.cli.keying import KeyOptions
from signer.cli.wiring import network
from signer.custody.desk import read_policy
from signer.custody.jobs.splitting import SplitKey
from signer.custody.orders import split_key
from signer.errors import PolicyError
from signer.files import make_folder, read_file, require_new, write_new
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import UNPROVEN, Card
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
    role: str,
    out: Path,
    **key_options: Any,
) -> tuple[Path, Split]:
    """Split the key and write the group file and the envelopes into the new folder `out`.

    Raises:
        UsageError: not exactly one source of the key.
        OutputError: `out` is there already, or its parent is not.
        SignerError: whatever the parts say.
    """
    key = KeyOptions(**key_options)
    key.require_one_source()
    require_new(out)
    chain = network(network_name, network_file)
    agreed = read_policy(policy)
    if not agreed.useful_to(role):
        raise PolicyError(
            f"under this policy a {role} key can sign nothing, and the policy cannot be changed "
            "without every holder",
            hint="list addresses for a withdrawal key; allow exits or deposits for a validator's",
        )
    texts = [_card_text(path) for path in cards]
    with key.opened() as (source, terminals):
        job = SplitKey(
            key=source,
            threshold=threshold,
            cards=tuple(texts),
            network=chain,
            role=role,
            policy_digest=agreed.digest,
        )
        result = split_key(job, terminals)
    make_folder(out)
    names = tuple(f"share-{index}.envelope.json" for index in result.group.indices)
    for name, envelope in zip(names, result.envelopes, strict=True):
        write_new(out / name, envelope, mode=0o600)
    write_new(out / "group.json", result.group.to_bytes())
    return out, Split(result.group, names)


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
        f"group file   {out / 'group.json'}   {group.marked(group.digest)}",
    ]
    for card, name in zip(group.cards, split.names, strict=True):
        mark = "" if card.body.proven else f"   {UNPROVEN}"
        lines.append(f"for {card.body.name:<12} {out / name}{mark}")
    lines += [
        "",
        "Now: give each holder the group file, the policy and his envelope; each runs",
        "`signer share verify`. When all have, destroy the mnemonic or keystore.",
    ]
    return "\n".join(lines)
