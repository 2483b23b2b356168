"""Another card for a holder whose share was repaired, which counts when t holders have signed it.

An envelope is bound to the identity keys that its ceremony had. From there a succession leads to
those in force: replacement 1, 2, …, each a new card of one holder, signed by the identity keys of t
others that were in force before it. Each says after how many amendments of the policy it comes, so
that everybody knows whose signatures an amendment needs.

A statement has no time in it: all who sign it sign the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import GroupFileError
from signer.messages.amendment import MAX_AMENDMENTS
from signer.messages.card import Card
from signer.messages.dsse import JointlySignedFile, SignedFile, key_id_of
from signer.messages.dsse import Signature as KeySignature
from signer.messages.group_id import MAX_EPOCH
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS

KIND = "signer-replacement"
PAYLOAD_TYPE = "application/vnd.signer.replacement.v1+json"
MAX_PAYLOAD_BYTES = 2048
MAX_REPLACEMENTS = 64  # of one epoch; a new epoch of shares starts with the cards of its ceremony


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementBody:
    """What a statement says. Signed by nobody yet."""

    group: bytes  # group id
    epoch: int
    number: int  # 1, 2, …
    index: int  # of the share whose holder has another card from now on
    card: bytes  # digest of that card
    ceremony: bytes  # id of the repair
    amendments: int  # how many amendments of the policy came before

    def to_payload(self) -> bytes:
        """Return the canonical payload, the bytes that every helper's token signs."""
        return canonical(
            {
                "type": KIND,
                "version": 1,
                "group": self.group.hex(),
                "epoch": self.epoch,
                "number": self.number,
                "index": self.index,
                "card": self.card.hex(),
                "ceremony": self.ceremony.hex(),
                "amendments": self.amendments,
            }
        )

    @classmethod
    def parse(cls, payload: bytes, what: str = "replacement") -> Self:
        """Read a statement that nobody need have signed."""
        fields = Fields(parse_object(payload, what=what, max_bytes=MAX_PAYLOAD_BYTES), what)
        fields.constant("type", KIND)
        fields.constant("version", 1)
        body = cls(
            group=fields.hex_bytes("group", 32),
            epoch=fields.integer("epoch", low=1, high=MAX_EPOCH),
            number=fields.integer("number", low=1, high=MAX_REPLACEMENTS),
            index=fields.integer("index", low=1, high=MAX_HOLDERS),
            card=fields.hex_bytes("card", 32),
            ceremony=fields.hex_bytes("ceremony", 32),
            amendments=fields.integer("amendments", low=0, high=MAX_AMENDMENTS),
        )
        fields.done()
        return body


@dataclass(frozen=True, slots=True)
class Replacement:
    """A card that t holders put in another's place. `Succession` is the only way to one."""

    body: ReplacementBody
    card: Card
    signed: JointlySignedFile

    def to_json(self) -> dict[str, Any]:
        """Return the replacement as it stands in a group file."""
        return {"card": self.card.to_json(), "statement": self.signed.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """What replacements are held against: the constants that the envelopes are bound to."""

    group: bytes
    epoch: int
    threshold: int
    holders: tuple[bytes, ...]  # identity keys, 65-byte points, of holder 1, 2, … n at first

    def parse(self, values: Sequence[Any], what: str = "replacements") -> tuple[Replacement, ...]:
        """Verify a whole succession, from the first replacement on.

        Raises:
            SchemaError: not this format.
            CardError: a card that does not hold.
            GroupFileError: fewer than t holders signed one, or it does not follow.
        """
        if len(values) > MAX_REPLACEMENTS:
            raise GroupFileError(f"{what}: more than {MAX_REPLACEMENTS}")
        chain: tuple[Replacement, ...] = ()
        for number, value in enumerate(values, start=1):
            name = f"{what}: number {number}"
            fields = Fields(value, name)
            card = Card.parse(fields.take("card"), f"{name}: card")
            signed = JointlySignedFile.parse(
                fields.take("statement"),
                name,
                payload_type=PAYLOAD_TYPE,
                max_payload=MAX_PAYLOAD_BYTES,
                most=MAX_HOLDERS,
            )
            fields.done()
            chain = (*chain, self._verified(chain, card, signed, name))
        return chain

    def join(
        self, chain: Sequence[Replacement], card: Card, files: Sequence[SignedFile]
    ) -> Replacement:
        """Put the helpers' signatures, in the order of their shares, under what follows `chain`.

        Raises:
            GroupFileError: they are of different statements, too few, or it does not follow.
        """
        if len({(file.payload_type, file.payload) for file in files}) != 1:
            raise GroupFileError("replacement: the holders signed different statements, or none")
        signatures = tuple(KeySignature(file.key_id, file.signature) for file in files)
        signed = JointlySignedFile(files[0].payload_type, files[0].payload, signatures)
        return self._verified(chain, card, signed, "replacement")

    def holders_after(self, chain: Sequence[Replacement]) -> tuple[bytes, ...]:
        """Return the identity keys in force once these replacements are."""
        holders = list(self.holders)
        for replacement in chain:
            holders[replacement.body.index - 1] = replacement.card.body.id_sign
        return tuple(holders)

    def changes(self, chain: Sequence[Replacement]) -> tuple[tuple[int, tuple[bytes, ...]], ...]:
        """Return for each replacement after how many amendments which keys are in force."""
        return tuple(
            (replacement.body.amendments, self.holders_after(chain[:count]))
            for count, replacement in enumerate(chain, start=1)
        )

    def _verified(
        self, chain: Sequence[Replacement], card: Card, signed: JointlySignedFile, what: str
    ) -> Replacement:
        body = ReplacementBody.parse(signed.payload, what)
        if signed.payload_type != PAYLOAD_TYPE or body.to_payload() != signed.payload:
            raise GroupFileError(f"{what}: what was signed is not in canonical form")
        before = self.holders_after(chain)
        self._require_next(chain, body, what)
        if body.card != card.digest:
            raise GroupFileError(f"{what}: the holders signed another card than this one")
        others = {point: at for at, point in enumerate(before, 1) if at != body.index}
        if card.body.id_sign in others:
            raise GroupFileError(f"{what}: the card has the identity key of another holder")
        of_key = {key_id_of(point): at for point, at in others.items()}
        signers = [of_key.get(signature.key_id, 0) for signature in signed.signatures]
        if signers != sorted(set(signers)) or 0 in signers:
            raise GroupFileError(
                f"{what}: a signature is no other holder's, stands twice, or out of order"
            )
        if len(signers) < self.threshold:
            raise GroupFileError(
                f"{what}: {len(signers)} holders signed it, {self.threshold} must",
                hint="repair the share with t helpers: signer ceremony new repair",
            )
        if not signed.signed_by_each([before[at - 1] for at in signers]):
            raise GroupFileError(f"{what}: a signature does not verify")
        return Replacement(body, card, signed)

    def _require_next(self, chain: Sequence[Replacement], body: ReplacementBody, what: str) -> None:
        if (body.group, body.epoch) != (self.group, self.epoch):
            raise GroupFileError(f"{what}: it is of another group or epoch")
        if body.number != len(chain) + 1:
            raise GroupFileError(
                f"{what}: it says it is {body.number}; {len(chain) + 1} is next",
                hint="repair again, from the group file that is in use now",
            )
        if body.index > len(self.holders):
            raise GroupFileError(f"{what}: the group has no share {body.index}")
        if chain and body.amendments < chain[-1].body.amendments:
            raise GroupFileError(f"{what}: it says that it came before the one before it")
