"""A new version of the policy, which counts when every holder has signed it.

The envelope names the first policy and the holders' identity keys. From there a chain leads to the
policy in force: amendment 1, 2, …, each with the digest of the policy before it, the whole new
policy, and one signature of each holder's identity key over the same bytes. A chain that is
unsigned, partly signed, reordered or has a gap is none.

Whether the object in an amendment is a good policy is for `signer.policy` to say.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from signer.errors import PolicyError
from signer.messages.dsse import JointlySignedFile, Signature, key_id_of
from signer.messages.group_id import MAX_EPOCH
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS

PAYLOAD_TYPE = "application/vnd.signer.policy-amendment.v1+json"
MAX_PAYLOAD_BYTES = 512 * 1024
MAX_AMENDMENTS = 64  # of one epoch; a new epoch of shares starts with the policy then in force


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendmentBody:
    """What an amendment says. Signed by nobody yet."""

    group: bytes  # group id
    epoch: int
    number: int  # 1, 2, …
    previous: bytes  # digest of the policy that it replaces
    policy: dict[str, Any] = field(hash=False)  # canonical form, of which the digest is taken

    @property
    def policy_digest(self) -> bytes:
        """The digest of the new policy."""
        return hashlib.sha256(canonical(self.policy)).digest()

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that every holder's token signs."""
        return canonical(
            {
                "type": "signer-policy-amendment",
                "version": 1,
                "group": self.group.hex(),
                "epoch": self.epoch,
                "number": self.number,
                "previous": self.previous.hex(),
                "policy": self.policy,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str = "amendment") -> Self:
        """Read an amendment that nobody need have signed."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD_BYTES), what)
        fields.constant("type", "signer-policy-amendment")
        fields.constant("version", 1)
        group = fields.hex_bytes("group", 32)
        epoch = fields.integer("epoch", low=1, high=MAX_EPOCH)
        number = fields.integer("number", low=1, high=MAX_AMENDMENTS)
        previous = fields.hex_bytes("previous", 32)
        policy = fields.take("policy")
        fields.done()
        if not isinstance(policy, dict):
            fields.fail("policy", "must be an object")
        return cls(group=group, epoch=epoch, number=number, previous=previous, policy=policy)


@dataclass(frozen=True, slots=True)
class Amendment:
    """An amendment that every holder signed. `parse_chain` and `join` are the only ways to one."""

    body: AmendmentBody
    signed: JointlySignedFile

    @property
    def policy_digest(self) -> bytes:
        """The digest of the new policy."""
        return self.body.policy_digest

    def to_json(self) -> dict[str, Any]:
        """Return the signed amendment as a JSON object."""
        return self.signed.to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What amendments are held against: the constants that the envelopes are bound to."""

    group: bytes
    epoch: int
    first_policy_digest: bytes
    holders: tuple[bytes, ...]  # identity keys, 65-byte points, of holder 1, 2, … n
    # After so many amendments these are the keys, where shares were repaired; ascending.
    changes: tuple[tuple[int, tuple[bytes, ...]], ...] = ()

    def holders_of(self, number: int) -> tuple[bytes, ...]:
        """Return the identity keys that must sign amendment `number`."""
        found = self.holders
        for amendments, holders in self.changes:
            if amendments < number:
                found = holders
        return found

    def parse(self, values: Sequence[Any], what: str = "amendments") -> tuple[Amendment, ...]:
        """Verify a whole chain, from the first amendment on.

        Raises:
            SchemaError: not this format.
            PolicyError: a signature is missing, of somebody else, or of other bytes; or the
                numbers or the digests do not follow from one another.
        """
        if len(values) > MAX_AMENDMENTS:
            raise PolicyError(f"{what}: more than {MAX_AMENDMENTS}")
        chain: tuple[Amendment, ...] = ()
        for number, value in enumerate(values, start=1):
            name = f"{what}: number {number}"
            signed = JointlySignedFile.parse(
                value,
                name,
                payload_type=PAYLOAD_TYPE,
                max_payload=MAX_PAYLOAD_BYTES,
                most=MAX_HOLDERS,
            )
            chain = (*chain, self._verified(chain, signed, name))
        return chain

    def join(
        self, chain: Sequence[Amendment], body: AmendmentBody, signatures: Sequence[Signature]
    ) -> Amendment:
        """Put the holders' signatures, which come in any order, under what follows `chain`.

        Raises:
            PolicyError: `body` does not follow, or it lacks a good signature of a holder.
        """
        of_key = {signature.key_id: signature for signature in signatures}
        ordered = tuple(
            of_key[key_id]
            for point in self.holders_of(body.number)
            if (key_id := key_id_of(point)) in of_key
        )
        if len(signatures) != len(ordered):
            raise PolicyError("amendment: a signature is not a holder's, or one stands twice")
        signed = JointlySignedFile(PAYLOAD_TYPE, body.to_payload(), ordered)
        return self._verified(chain, signed, "amendment")

    def require_next(
        self, chain: Sequence[Amendment], body: AmendmentBody, what: str = "amendment"
    ) -> None:
        """Refuse what does not follow `chain`. Says nothing about signatures.

        Raises:
            PolicyError: of another group or epoch, out of order, or from another policy on.
        """
        if (body.group, body.epoch) != (self.group, self.epoch):
            raise PolicyError(f"{what} is of another group or epoch")
        if body.number != len(chain) + 1:
            raise PolicyError(f"{what} says it is {body.number}; {len(chain) + 1} is next")
        before = chain[-1].policy_digest if chain else self.first_policy_digest
        if body.previous != before:
            raise PolicyError(
                f"{what} replaces another policy than the one in force before it",
                hint="make it again from the group file that is in use now: signer policy amend",
            )

    def _verified(
        self, chain: Sequence[Amendment], signed: JointlySignedFile, what: str
    ) -> Amendment:
        body = AmendmentBody.parse(signed.payload, what)
        if body.to_payload() != signed.payload:
            raise PolicyError(f"{what}: what was signed is not in canonical form")
        self.require_next(chain, body, what)
        if not signed.signed_by_each(self.holders_of(body.number)):
            raise PolicyError(
                f"{what} has no good signature of each of the {len(self.holders)} holders",
                hint="a policy changes when every holder has signed it: signer policy sign",
            )
        return Amendment(body, signed)
