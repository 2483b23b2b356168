"""What everybody checks of the deals, and what they add up to. Public values only.

A fault that the dealer has signed is a `DealError` and names him: the ceremony is over. A file that
is not what a dealer signed proves nothing against him: it is refused, and the true one is waited
for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from signer.bls.encoding import PublicKey
from signer.ceremony.deal import Deal, DealBody, SlimDeal
from signer.ceremony.setting import Setting
from signer.errors import CeremonyError, DealError, EncodingError, InputError
from signer.messages.dsse import SignedFile
from signer.sealing.hpke import Sealed
from signer.threshold.params import ShareIndex
from signer.threshold.possession import Proof, verify
from signer.threshold.vector import VerificationVector

NO_KEY = "E_NO_KEY"
_TRANSCRIPT = b"signer/transcript/v1"
_NOT_HIS = "ask for the file again, from the dealer himself"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDeal:
    """A deal that keeps every rule which can be seen without a secret."""

    dealer: int
    digest: bytes  # SHA-256 of what was signed
    commitments: tuple[PublicKey, ...]
    associated_data: bytes
    bindings: bytes | None
    moment: int  # Unix seconds, the dealer's word
    ciphertexts: Mapping[int, Sealed]  # by member; of a slim deal only one


def check_deal(deal: Deal, setting: Setting, dealer: int) -> CheckedDeal:
    """Check everything of a dealer's file that is public.

    Raises:
        CeremonyError: it is not what this dealer signed for this ceremony.
        DealError: he signed what breaks a rule.
    """
    body = _signed_body(deal.signed, setting, dealer)
    if deal.root != body.ciphertexts_root:
        raise CeremonyError(
            f"the ciphertexts are not those that {setting.name_of(dealer)} signed for",
            code="E_DEAL_CIPHERTEXTS",
            hint=_NOT_HIS,
        )
    members = setting.roster.indices
    if len(deal.ciphertexts) != len(members):
        raise DealError(
            f"{setting.name_of(dealer)} sealed {len(deal.ciphertexts)} shares for "
            f"{len(members)} members",
            dealer=dealer,
            code="E_DEAL_LENGTH",
        )
    return _checked(
        body, deal.digest, setting, dict(zip(map(int, members), deal.ciphertexts, strict=True))
    )


def check_slim_deal(
    deal: SlimDeal, setting: Setting, dealer: int, member: ShareIndex
) -> CheckedDeal:
    """Check a deal of which `member` has only his own ciphertext. Raises as `check_deal`."""
    body = _signed_body(deal.signed, setting, dealer)
    if deal.root(member, setting.roster.threshold.n) != body.ciphertexts_root:
        raise CeremonyError(
            f"the ciphertext is not the one that {setting.name_of(dealer)} signed for",
            code="E_DEAL_CIPHERTEXTS",
            hint=_NOT_HIS,
        )
    return _checked(body, deal.digest, setting, {int(member): deal.ciphertext})


def require_deal_of(signed: SignedFile, setting: Setting, dealer: int) -> None:
    """Refuse what this dealer did not sign for this ceremony, whatever it says.

    Raises:
        CeremonyError: it is another's, or of another ceremony.
        DealError: he signed what is no deal.
    """
    _signed_body(signed, setting, dealer)


@dataclass(frozen=True)
class Outcome:
    """What all deals add up to."""

    setting: Setting
    deals: tuple[CheckedDeal, ...]  # in the order of the roster's dealers
    vector: VerificationVector
    bindings: bytes | None  # digest over what a reshare's dealers say that is bound

    @cached_property
    def public_shares(self) -> dict[ShareIndex, PublicKey]:
        """The public share of each member."""
        return {index: self.vector.public_share(index) for index in self.setting.roster.indices}

    @cached_property
    def transcript(self) -> bytes:
        """32 bytes: the ceremony, every deal as it was signed, and what came of them."""
        parts = [_TRANSCRIPT, self.setting.roster.id]
        parts += [deal.digest for deal in self.deals]
        parts += [self.bindings or bytes(32), bytes(self.vector.group_public_key)]
        parts += [bytes(share) for share in self.public_shares.values()]
        return hashlib.sha256(b"".join(parts)).digest()


def outcome_of(
    setting: Setting, deals: Sequence[CheckedDeal], bindings: bytes | None = None
) -> Outcome:
    """Put the deals of all dealers together.

    Raises:
        DealError: a dealer took over another's constant term.
        CeremonyError: E_NO_KEY: the sum is no key. Somebody chose his commitments as a function of
            the others', and cannot have dealt shares that fit them: the members find him out.
        ValueError: a deal is missing or stands twice.
    """
    if tuple(deal.dealer for deal in deals) != setting.roster.dealers:
        raise ValueError("the deals of all dealers are needed, in their order")
    seen: dict[bytes, int] = {}
    for deal in deals:
        constant = bytes(deal.commitments[0])
        if constant in seen:
            raise DealError(
                f"{setting.name_of(deal.dealer)} has the constant term of "
                f"{setting.name_of(seen[constant])}",
                dealer=deal.dealer,
                code="E_DEAL_COPIED",
            )
        seen[constant] = deal.dealer
    try:
        vector = setting.vector_of({deal.dealer: deal.commitments for deal in deals})
        outcome = Outcome(setting, tuple(deals), vector, bindings)
        distinct = set(outcome.public_shares.values())
    except EncodingError:
        raise CeremonyError("the deals add up to no key", code=NO_KEY) from None
    if len(distinct) != setting.roster.threshold.n:
        raise CeremonyError("two members would have the same share", code=NO_KEY)
    expected = setting.previous.public_key if setting.previous is not None else None
    if expected is not None and vector.group_public_key != expected:
        raise CeremonyError("the deals add up to another key than the group's")
    return outcome


def _signed_body(signed: SignedFile, setting: Setting, dealer: int) -> DealBody:
    name = setting.name_of(dealer)
    if not signed.signed_by(setting.card_of_dealer(dealer).body.id_sign):
        raise CeremonyError(f"{name} did not sign it", code="E_DEAL_SIGNATURE", hint=_NOT_HIS)
    try:
        body = DealBody.parse(signed.payload, f"the deal of {name}")
    except InputError as error:
        raise DealError(error.message, dealer=dealer, code="E_DEAL_SCHEMA") from None
    if (body.ceremony, body.dealer) != (setting.roster.id, dealer):
        raise CeremonyError(
            f"{name} signed it for another ceremony, or in another place",
            code="E_DEAL_CEREMONY",
            hint=_NOT_HIS,
        )
    return body


def _checked(
    body: DealBody, digest: bytes, setting: Setting, ciphertexts: Mapping[int, Sealed]
) -> CheckedDeal:
    dealer, name = body.dealer, setting.name_of(body.dealer)
    t = setting.roster.threshold.t
    if len(body.commitments) != t:
        raise DealError(
            f"{name} committed to {len(body.commitments)} coefficients; a threshold of {t} has {t}",
            dealer=dealer,
            code="E_DEAL_LENGTH",
        )
    try:
        commitments = tuple(PublicKey(entry) for entry in body.commitments)
    except EncodingError as error:
        raise DealError(f"{name}: {error.message}", dealer=dealer, code="E_DEAL_POINT") from None
    constant = setting.constant_of(dealer)
    if constant is not None and commitments[0] != constant:
        raise DealError(
            f"{name} deals another secret than "
            + ("his old share" if setting.previous is not None else "the group's key"),
            dealer=dealer,
            code="E_DEAL_CONSTANT",
        )
    if (body.proof is not None) != setting.needs_proof:
        raise DealError(
            f"{name} proves what is not asked, or nothing", dealer=dealer, code="E_DEAL_PROOF"
        )
    if body.proof is not None:
        _require_proof(body, commitments, setting)
    if (body.bindings is None) != (setting.previous is None):
        raise DealError(
            f"{name} names bindings of a journal, or none", dealer=dealer, code="E_DEAL_SCHEMA"
        )
    return CheckedDeal(
        dealer=dealer,
        digest=digest,
        commitments=commitments,
        associated_data=body.associated_data,
        bindings=body.bindings,
        moment=body.moment,
        ciphertexts=ciphertexts,
    )


def _require_proof(body: DealBody, commitments: Sequence[PublicKey], setting: Setting) -> None:
    name = setting.name_of(body.dealer)
    if body.proof is None:
        return
    try:
        proof = Proof(PublicKey(body.proof.r), body.proof.z)
        good = verify(commitments, proof, setting.proof_context(body.dealer))
    except EncodingError:
        good = False
    if not good:
        raise DealError(
            f"{name} does not prove that he knows his secret",
            dealer=body.dealer,
            code="E_DEAL_PROOF",
        )
