"""What lies on one holder's desk: group file, policy and envelope, held against each other."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from signer.bls.encoding import PublicKey
from signer.errors import ConfigError
from signer.files import read_file
from signer.messages.group_file import MAX_BYTES as MAX_GROUP_BYTES
from signer.messages.group_file import GroupFile
from signer.messages.networks import Network
from signer.policy.policy import MAX_BYTES as MAX_POLICY_BYTES
from signer.policy.policy import Policy
from signer.sealing.envelope import MAX_BYTES as MAX_ENVELOPE_BYTES
from signer.sealing.envelope import Binding, Envelope
from signer.strict_yaml import parse_yaml_object
from signer.threshold.params import ShareIndex

_WRONG_POLICY = "take the policy that belongs to the group file; see `signer policy show`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One share's public papers. They belong together, or there is no Desk."""

    group: GroupFile
    policy: Policy
    envelope: Envelope
    envelope_text: str
    index: ShareIndex
    public_share: PublicKey

    @classmethod
    def lay(cls, group_path: Path, policy_path: Path, envelope_path: Path) -> Self:
        """Read the three files and hold them against each other.

        Raises:
            InputError: a file cannot be read, or is not its format.
            SealError: the envelope is malformed.
            ConfigError: they do not belong together.
        """
        group = read_group(group_path)
        policy = read_policy(policy_path)
        raw = read_file(envelope_path, what="envelope", max_bytes=MAX_ENVELOPE_BYTES)
        envelope = Envelope.parse(raw)
        binding = envelope.binding
        if policy.digest != group.current_policy_digest:
            raise ConfigError(_not_in_force(policy_path, group), hint=_WRONG_POLICY)
        if not 1 <= binding.index <= group.threshold.n:
            raise ConfigError(f"envelope {str(envelope_path)!r}: share {binding.index} is nobody's")
        index = ShareIndex(binding.index)
        expected = group.binding(index, recovered=binding.recovered)
        if binding != expected:
            raise ConfigError(
                f"envelope {str(envelope_path)!r} does not belong to this group file: "
                f"{_difference(binding, expected)} differs",
                hint="take the envelope and the group file of the same ceremony",
            )
        if group.card_of(index).body.kex not in envelope.recipients:
            raise ConfigError(
                f"envelope {str(envelope_path)!r} is not for the key on the card of share {index}",
                hint="somebody sealed it anew: compare card and group file by voice",
            )
        return cls(
            group=group,
            policy=policy,
            envelope=envelope,
            envelope_text=raw.decode(),
            index=index,
            public_share=group.vector.public_share(index),
        )


def read_group(path: Path) -> GroupFile:
    """Read the group file at `path`."""
    raw = read_file(path, what="group file", max_bytes=MAX_GROUP_BYTES)
    return GroupFile.parse(raw, f"group file {str(path)!r}")


def read_policy(path: Path) -> Policy:
    """Read the policy (YAML) at `path`."""
    what = f"policy {str(path)!r}"
    raw = read_file(path, what="policy", max_bytes=MAX_POLICY_BYTES)
    return Policy.parse(parse_yaml_object(raw, what=what, max_bytes=MAX_POLICY_BYTES), what)


def require_pinned(network: Network, pinned: Network | None) -> None:
    """Refuse a group of a network that is neither built in nor pinned in the agent's settings.

    Raises:
        ConfigError: the group file brought a network of its own.
    """
    if network.built_in or network == pinned:
        return
    raise ConfigError(
        f"the group file is for the custom network {network.name!r}, which is not pinned here",
        hint=f"check the network's file, then pin it: digest {network.digest.hex()}",
    )


def _not_in_force(path: Path, group: GroupFile) -> str:
    number = group.amendment_number
    agreed = f"that amendment {number} brought into force" if number else "the group file names"
    return f"policy {str(path)!r} is not the one {agreed}"


def _difference(found: Binding, expected: Binding) -> str:
    names = [field.name for field in fields(Binding)]
    return next(name for name in names if getattr(found, name) != getattr(expected, name))
