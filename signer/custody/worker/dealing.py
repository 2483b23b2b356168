"""The orders of a ceremony's dealer: deal, and answer a complaint."""

import os
import time
from typing import Any

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.ceremony.complaint import COMPLAINT, HIDDEN, OPENING_TYPE, Opening, open_complaint
from signer.ceremony.deal import PAYLOAD_TYPE, Deal, sealed_json, take_sealed
from signer.ceremony.dealing import SEED_BYTES, ephemeral_seed
from signer.ceremony.dealing import make_deal as deal_of
from signer.ceremony.roster import Roster, SplitTerms
from signer.ceremony.setting import Setting
from signer.ceremony.statement import take_statement
from signer.custody.jobs.ceremony import CeremonyJob, MakeDeal, OpenDeal
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.key_source import read_key
from signer.custody.worker.notary import identity_on, sign_file
from signer.custody.worker.opening import open_share
from signer.errors import CeremonyError, EngineError, UsageError
from signer.hsm.keys import receiving_key_of, token_random
from signer.hsm.mechanisms import require_ceremony_mechanisms
from signer.hsm.receiving import ReceivingKey
from signer.hsm.session import TokenSession
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope
from signer.sealing.hkdf import derive
from signer.sealing.hpke import Sealed, open_sealed, seal
from signer.secret import SecretBytes
from signer.strict import Fields

_SESSION = b"signer/session/v1\x00"
_SEED = b"signer/session-seed/v1"
_SEALED_SEED_BYTES = SEED_BYTES + 16


def setting_of(job: CeremonyJob) -> Setting:
    """Return the ceremony that an order is about.

    Raises:
        SignerError: its roster does not hold.
    """
    previous = None if job.previous is None else GroupFile.parse(job.previous.encode(), "previous")
    return Setting.of(Roster.parse(job.roster.encode()), previous)


def make_deal(fields: Fields) -> dict[str, Any]:
    """Deal, and return the signed deal with the session seed, sealed to the dealer's own token.

    Raises:
        CardError: the token is not the dealer's.
        CeremonyError: the key is another than the roster's.
    """
    job = MakeDeal.parse(fields)
    setting = setting_of(job)
    _require_dealer(setting, job.dealer)
    card = setting.card_of_dealer(job.dealer)
    with session_on(job.token, job.pin, among=[card.body.kex]) as session:
        require_ceremony_mechanisms(session)
        identity = identity_on(session, card)
        key = receiving_key_of(session, card.body.kex)
        with fresh_seed(session) as seed:
            constant = _constant(job, setting, session)
            try:
                body, ciphertexts = deal_of(
                    setting,
                    job.dealer,
                    seed,
                    int(time.time()),
                    constant=constant,
                    bindings=job.bindings,
                )
            finally:
                if constant is not None:
                    constant.wipe()
            sealed = seal(key.public_point, _session_info(setting), b"", seed, os.urandom)
        deal = Deal(sign_file(identity, PAYLOAD_TYPE, body.to_payload()), ciphertexts)
    return {"session": sealed_json(sealed), "deal": deal.to_json()}


def open_deal(fields: Fields) -> dict[str, Any]:
    """Show the ephemeral key of one recipient's ciphertext, after his complaint.

    Raises:
        CeremonyError: this recipient does not complain of what only he can see.
    """
    job = OpenDeal.parse(fields)
    setting = setting_of(job)
    _require_dealer(setting, job.dealer)
    if job.recipient not in setting.roster.indices:
        raise CeremonyError(f"the roster has no member {job.recipient}")
    signed = take_statement(job.complaint, COMPLAINT, "complaint")
    complaint = open_complaint(signed, setting, job.recipient, job.dealer)
    if complaint.code not in HIDDEN:
        raise CeremonyError(f"a complaint of {complaint.code} needs no answer")
    if not setting.opens:
        raise CeremonyError(
            "nothing is opened in a split or reshare: the secret that was dealt lives on",
            code="E_OPENING",
        )
    card = setting.card_of_dealer(job.dealer)
    sealed = take_sealed(Fields(job.session, "session"), _SEALED_SEED_BYTES)
    with session_on(job.token, job.pin, among=[card.body.kex]) as session:
        identity = identity_on(session, card)
        key = receiving_key_of(session, card.body.kex)
        with _opened_seed(sealed, setting, key) as seed:
            from signer.sealing.transit import ephemeral_scalar

            with (
                ephemeral_seed(seed, setting.roster.id, job.recipient) as ephemeral,
                ephemeral_scalar(ephemeral) as scalar,
            ):
                said = Opening(
                    ceremony=setting.roster.id,
                    dealer=job.dealer,
                    recipient=job.recipient,
                    ephemeral=bytes(scalar.expose()),  # public from now on
                    moment=int(time.time()),
                )
        signed = sign_file(identity, OPENING_TYPE, said.to_payload())
    return {"opening": signed.to_json()}


def _constant(job: MakeDeal, setting: Setting, session: TokenSession) -> SecretScalar | None:
    """Return what is dealt where the ceremony fixes it; the caller wipes it."""
    terms = setting.roster.terms
    if isinstance(terms, SplitTerms):
        if job.key is None:
            raise UsageError("the dealer of a split needs the key: a mnemonic or a keystore")
        scalar = read_key(job.key, setting.roster.role)
        if public_key(scalar) != terms.group_public_key:
            scalar.wipe()
            raise CeremonyError(
                "this is another key than the one that the roster names",
                hint="look at --key-index, and at which mnemonic it is",
            )
        return scalar
    if setting.previous is None:
        return None
    if job.envelope is None or job.bindings is None:
        raise UsageError("a dealer of a reshare needs his old envelope and his journal's bindings")
    envelope = Envelope.parse(job.envelope.encode())
    if envelope.binding.index != job.dealer:
        raise UsageError(f"the envelope is of share {envelope.binding.index}, not {job.dealer}")
    _, share = open_share(session, envelope, setting.old)
    return share.scalar


def _require_dealer(setting: Setting, dealer: int) -> None:
    if dealer not in setting.roster.dealers:
        raise CeremonyError(f"{dealer} is no dealer of this ceremony")


def fresh_seed(session: TokenSession) -> SecretBytes:
    """Return 32 bytes of the machine's and the token's randomness together: one good one is enough.

    Raises:
        EngineError: this machine's is evidently broken.
        TokenError: the token's is.
    """
    with (
        SecretBytes.take(bytearray(os.urandom(SEED_BYTES))) as ours,
        SecretBytes.take(bytearray(os.urandom(SEED_BYTES))) as again,
        token_random(session, SEED_BYTES) as theirs,
        SecretBytes.zeros(2 * SEED_BYTES) as both,
    ):
        if ours == again:
            raise EngineError("this machine's random source is broken: it repeats itself")
        both.expose()[:SEED_BYTES] = ours.expose()
        both.expose()[SEED_BYTES:] = theirs.expose()
        return derive(both, _SEED, SEED_BYTES)


def _session_info(setting: Setting) -> bytes:
    return _SESSION + setting.roster.id


def _opened_seed(sealed: Sealed, setting: Setting, key: ReceivingKey) -> SecretBytes:
    return open_sealed(
        sealed.enc, sealed.ciphertext, key.public_point, _session_info(setting), b"", key.ecdh
    )
