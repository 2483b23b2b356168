"""Jobs that open an envelope: prove a share, sign a batch."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from signer.custody.jobs.journal import PATH_PATTERN, serials_json, take_serials
from signer.custody.jobs.token_job import TokenJob, take_head, take_object, take_text
from signer.hsm.profile_facts import ANCHORS
from signer.messages.group_id import MAX_EPOCH, ROLES
from signer.messages.networks import Network
from signer.p256 import POINT_BYTES
from signer.strict import Fields, parse_hex
from signer.threshold.params import MAX_HOLDERS

MAX_POSITIONS = 20_000  # items of a request
_MAX_AMENDMENTS = 64
_MAX_REPLACEMENTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyShare(TokenJob):
    """Unseal a share and prove it against the group file."""

    kind: ClassVar[str] = "verify_share"
    group: str  # the group file's text
    envelope: str  # the envelope's text
    card: str | None = None  # the text of the token's card, if it is a spare

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "group": self.group,
            "envelope": self.envelope,
            "card": self.card,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            group=take_text(fields, "group"),
            envelope=take_text(fields, "envelope"),
            card=_optional_text(fields, "card"),
        )
        fields.done()
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class SignBatch(TokenJob):
    """Sign the items of a request that the custodian's policy and journal let through.

    Network, role, group public key, epoch, index, public share, first policy digest, threshold,
    holders and certificate are what the envelope's associated data binds: with any of them changed
    it does not open. From the first policy the amendments, signed by those holders, lead to the one
    in force; where a share was repaired, a replacement signed by t says who signs in its holder's
    place.
    """

    kind: ClassVar[str] = "sign_batch"
    network: Network
    role: str
    group_public_key: bytes
    epoch: int
    index: int
    public_share: bytes
    first_policy_digest: bytes
    threshold: int
    holders: tuple[bytes, ...]  # bound identity keys, 65-byte points, in index order
    certificate: bytes  # digest of the ceremony's, or NO_CERTIFICATE
    replacements: tuple[dict[str, Any], ...] = ()  # of cards, since shares were repaired
    amendments: tuple[dict[str, Any], ...] = ()
    policy: dict[str, Any]  # the one in force
    envelope: str
    request: str
    skip: frozenset[int]  # positions in the request that are not to be signed
    journal: str  # absolute; its last record is this request's INTENT
    anchor: str = "none"  # one of signer.hsm.profile_facts.ANCHORS
    anchored_serials: frozenset[bytes] = frozenset()  # SHA-256 of serials known to have an anchor
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            **self.head(),
            "network": self.network.to_json(),
            "role": self.role,
            "group_public_key": self.group_public_key.hex(),
            "epoch": self.epoch,
            "index": self.index,
            "public_share": self.public_share.hex(),
            "first_policy_digest": self.first_policy_digest.hex(),
            "threshold": self.threshold,
            "holders": [point.hex() for point in self.holders],
            "certificate": self.certificate.hex(),
            "replacements": list(self.replacements),
            "amendments": list(self.amendments),
            "policy": self.policy,
            "envelope": self.envelope,
            "request": self.request,
            "skip": sorted(self.skip),
            "journal": self.journal,
            "anchor": self.anchor,
            "anchored_serials": serials_json(self.anchored_serials),
            "threads": self.threads,
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take the order from `fields`."""
        job = cls(
            **take_head(fields),
            network=Network.parse(fields.nested("network")),
            role=fields.choice("role", ROLES),
            group_public_key=fields.hex_bytes("group_public_key", 48),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            public_share=fields.hex_bytes("public_share", 48),
            first_policy_digest=fields.hex_bytes("first_policy_digest", 32),
            threshold=fields.integer("threshold", low=1, high=MAX_HOLDERS),
            holders=tuple(
                parse_hex(entry, POINT_BYTES, "order: a holder")
                for entry in fields.array("holders", low=1, high=MAX_HOLDERS)
            ),
            certificate=fields.hex_bytes("certificate", 32),
            replacements=tuple(fields.array("replacements", low=0, high=_MAX_REPLACEMENTS)),
            amendments=tuple(fields.array("amendments", low=0, high=_MAX_AMENDMENTS)),
            policy=take_object(fields, "policy"),
            envelope=take_text(fields, "envelope"),
            request=take_text(fields, "request"),
            skip=frozenset(_positions(fields, "skip")),
            journal=fields.string("journal", pattern=PATH_PATTERN, max_length=4096),
            anchor=fields.choice("anchor", ANCHORS),
            anchored_serials=take_serials(fields),
            threads=fields.integer("threads", low=1, high=64),
        )
        fields.done()
        return job


def _optional_text(fields: Fields, name: str) -> str | None:
    value = fields.take(name)
    return None if value is None else take_text(Fields({name: value}, fields.what), name)


def _positions(fields: Fields, name: str) -> list[int]:
    entries = fields.array(name, low=0, high=MAX_POSITIONS)
    if not all(type(entry) is int and 0 <= entry < MAX_POSITIONS for entry in entries):
        fields.fail(name, "must be a list of positions")
    return entries
