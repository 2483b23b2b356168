"""What a worker does about a share that exists: seal it anew, destroy its keys, vouch for it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from signer.ceremony.certificate import certificate_digest
from signer.ceremony.destruction import open_destroyed
from signer.ceremony.setting import Setting
from signer.ceremony.statement import take_statement
from signer.custody.ceremony_state import CeremonyState
from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.ceremony import DestroyKey, ResealShare
from signer.custody.jobs.journal import StateBindings
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.old_keys import gone_keys, keep_gone
from signer.custody.worker import destroying, opening, resealing, stating
from signer.custody.worker.destroying import destroy_key
from signer.custody.worker.resealing import reseal_share
from signer.custody.worker.stating import state_bindings
from signer.errors import ProvenanceError, SignerError
from signer.hsm.profile import load_profile
from signer.messages.bindings import MAX_PAYLOAD, PAYLOAD_TYPE, Bindings
from signer.messages.card import Card
from signer.messages.dsse import SignedFile
from signer.recipient import rsa_recipient
from signer.sealing.envelope import Envelope, Slot
from signer.sealing.share import seal_share, unseal_share
from signer.secret import SecretBytes
from signer.strict import Fields
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering, Person, roster_of
from tests.simulators.ceremony_desk import ReceivingKey
from tests.simulators.holders import seeded
from tests.simulators.repair import Repair
from tests.unit.ceremony.honest import dkg, refused, reshare

TOKEN = TokenChoice(profile=load_profile("softhsm2"), label="desk")
PIN = SecretSource(file="/none")


@dataclass
class Token:
    """A token in memory, as the worker's functions see it."""

    person: Person | None  # whose identity key it has
    keys: list[Any] = field(default_factory=list)  # receiving keys
    serial: bytes = bytes(32)
    anchored: bool = False

    @property
    def profile(self) -> Any:
        return TOKEN.profile

    @property
    def token(self) -> "Token":
        return self

    def describe(self) -> str:
        return "token 'desk'"

    @property
    def public_point(self) -> bytes:
        assert self.person is not None
        return self.person.card.body.id_sign


@dataclass
class Key:
    """A receiving key; hidden: its public object is a stranger's; borrowed: the point is."""

    point: bytes
    hidden: bool = False
    borrowed: bool = False

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        """The token's step of opening an envelope."""
        return self.ecdh(enc)

    def ecdh(self, peer: bytes) -> SecretBytes:
        return next(one for one in (OLD, SPARE_TOKEN) if one.card.body.kex == self.point).ecdh(peer)

    @property
    def public_point(self) -> bytes:
        return b"\x04" + bytes(64) if self.hidden else self.point

    def require_own_point(self) -> None:
        if self.hidden or self.borrowed:
            raise ProvenanceError("its public key object is of another key")


@dataclass
class Desk:
    """The token that is plugged in."""

    token: Token = field(default_factory=lambda: Token(None))
    destroyed: list[bytes] = field(default_factory=list)
    cut: bool = False  # off, just after a key was destroyed

    @contextlib.contextmanager
    def session(self, *_: object, **__: object) -> Iterator[Token]:
        yield self.token

    def destroy(self, token: Token, point: bytes) -> None:
        token.keys = [key for key in token.keys if key.public_point != point]
        self.destroyed.append(point)
        if self.cut:
            raise KeyboardInterrupt


def identity_on(token: Token, card: Card) -> Token:
    assert token.person is not None
    assert token.public_point == card.body.id_sign
    return token


def sign(token: Token, payload_type: str, payload: bytes) -> SignedFile:
    assert token.person is not None
    return token.person.sign(payload_type, payload)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()
    for module in (destroying, resealing, stating):
        monkeypatch.setattr(module, "session_on", desk.session)
    monkeypatch.setattr(destroying, "receiving_keys", lambda token: tuple(token.keys))
    monkeypatch.setattr(destroying, "destroy_receiving_key", desk.destroy)
    monkeypatch.setattr(destroying, "serial_digest", lambda token: token.serial)
    monkeypatch.setattr(destroying, "identity_on", identity_on)
    monkeypatch.setattr(destroying, "sign_file", sign)
    monkeypatch.setattr(opening, "receiving_key", lambda token, among: token.keys[0])
    monkeypatch.setattr(stating, "is_anchored", lambda token, share: token.anchored)
    monkeypatch.setattr(stating, "compare", lambda *_: None)
    monkeypatch.setattr(stating, "identity_key", lambda token: Signer(token))
    return desk


@dataclass
class Signer:
    """An identity key; what it signs is not looked at here."""

    token: Token

    @property
    def public_point(self) -> bytes:
        return self.token.public_point

    def sign(self, _: bytes) -> bytes:
        return bytes(64)


def take(job: Job) -> Any:
    """Return an order as the worker takes it."""
    return open_order(order_bytes(job))[1]


# Sealing anew


def with_stranger(envelope: Envelope, stranger: Person) -> Envelope:
    """Return the envelope with one slot more, for somebody else; it holds nothing."""
    point = stranger.card.body.kex
    return replace(envelope, slots=(*envelope.slots, Slot("hpke-p256", point, point, bytes(48))))


@pytest.mark.case("X750", "slot added to the envelope in an acknowledgement that is recovered from")
def test_a_share_is_sealed_anew_only_to_its_holder(desk: Desk) -> None:
    group, ada, eve = dkg().group(), dkg().members[1], Person.new("Eve")
    file = dkg().acknowledgement(1)
    desk.token = Token(ada, [ReceivingKey(ada)])

    def job(changed: Any) -> Any:
        text = changed.to_bytes().decode()
        return take(
            ResealShare(token=TOKEN, pin=PIN, group=group.to_bytes().decode(), acknowledgement=text)
        )

    sealed = Envelope.parse(reseal_share(job(file))["envelope"].encode())
    assert sealed.recipients == (ada.card.body.kex,)
    binding = group.binding(ShareIndex(1), recovered=True)
    with unseal_share(sealed, binding, ada.card.body.kex, ada.unlock) as plain:
        assert bytes(plain.expose()) == dkg().share(1)

    changed = replace(file, envelope=with_stranger(file.envelope, eve))
    refused("E_CEREMONY", "not the one that holder 1 acknowledged", reseal_share, job(changed))
    others = replace(changed, signed=dkg().acknowledgement(2).signed)
    refused("E_SIGNATURE", "", reseal_share, job(others))
    renamed = dkg().acknowledgement(1, certificate=bytes(32))
    refused("E_TRANSCRIPT", "another certificate", reseal_share, job(renamed))


def test_a_repaired_share_is_sealed_anew_too(desk: Desk) -> None:
    repair = Repair.of()
    group = repair.board(repair.files()).repaired
    assert group is not None
    back = repair.people[repair.lost]
    desk.token = Token(back, [ReceivingKey(back)])
    text = repair.acknowledgement().to_bytes().decode()
    job = ResealShare(token=TOKEN, pin=PIN, group=group.to_bytes().decode(), acknowledgement=text)
    sealed = Envelope.parse(reseal_share(take(job))["envelope"].encode())
    assert sealed.recipients == (back.card.body.kex,)


def with_backup(backup: Person) -> Gathering:
    """Return a ceremony of two; the first one's card shows a spare's key too."""
    people = {1: Person.new("Ada", kex_backup=backup.card.body.kex), 2: Person.new("Ben")}
    return Gathering(Setting.of(roster_of(people, 2), None), people, people)


@pytest.mark.case("X822", "recovered share sealed to the opening token only, not to the card's")
def test_a_share_is_sealed_anew_to_every_key_of_its_holder(desk: Desk) -> None:
    backup, third = Person.new("Ada backup"), Person.new("Ada third")
    made = with_backup(backup)
    people = made.members
    spares = [one.card.body.kex for one in (backup, third)]
    job = ResealShare(
        token=TOKEN, pin=PIN, group=made.group().to_bytes().decode(),
        acknowledgement=made.acknowledgement(1, spares=spares).to_bytes().decode(),
    )  # fmt: skip
    own = people[1].card.body.kex
    for opens, recipients in (
        (people[1], (own, spares[0])),
        (backup, (own, spares[0])),
        (third, (own, *spares)),  # which no card shows: it is at hand, so it stays one
    ):
        desk.token = Token(people[1], [ReceivingKey(opens)])
        sealed = Envelope.parse(reseal_share(take(job))["envelope"].encode())
        assert sealed.recipients == recipients
        binding = made.group().binding(ShareIndex(1), recovered=True)
        for one in (people[1], backup):
            with unseal_share(sealed, binding, one.card.body.kex, one.unlock) as plain:
                assert bytes(plain.expose()) == made.share(1)


# Destroying


SPARE_TOKEN = Person.new("Ada spare")
SPARE = SPARE_TOKEN.card.body.kex
OLD = dkg().members[1]
OWN = OLD.card.body.kex


def old_envelope(*more: bytes) -> str:
    """Return member 1's old envelope, with slots for other tokens of his."""
    group = dkg().group(active=True)
    with SecretBytes(dkg().share(1)) as plain:
        envelope = seal_share(plain, group.binding(ShareIndex(1)), [OWN, *more], seeded(4))
    return envelope.to_bytes().decode()


def destroy(notes: Path, **changes: Any) -> Any:
    """Return the order to destroy member 1's old key."""
    new = reshare()
    fields: dict[str, Any] = {
        "certificate": new.certificate().to_bytes().decode(),
        "previous": new.setting.old.to_bytes().decode(), "index": 1,
        "envelope": old_envelope(SPARE), "spare": False, "gone": (), "notes": str(notes),
        "acknowledgements": tuple(
            (index, new.acknowledgement(index).to_bytes().decode()) for index in new.members
        ),
    }  # fmt: skip
    return take(DestroyKey(token=TOKEN, pin=PIN, **(fields | changes)))


@pytest.mark.case("X751", "order to destroy the card's key while another slot still opens")
def test_no_receipt_while_a_slot_opens(desk: Desk, tmp_path: Path) -> None:
    desk.token = Token(OLD, [Key(OWN)])
    refused("E_TOO_EARLY", "opens on other tokens too", destroy_key, destroy(tmp_path))
    assert desk.destroyed == []

    desk.token = Token(None, [Key(SPARE), Key(OWN)])
    spare = destroy_key(destroy(tmp_path, spare=True))
    assert (spare["receipt"], desk.destroyed) == (None, [SPARE])
    desk.token = Token(OLD, [Key(OWN), Key(b"\x04" + b"\x01" * 64)])
    done = destroy_key(destroy(tmp_path, gone=tuple(map(bytes.fromhex, spare["gone"]))))
    assert desk.destroyed == [SPARE, OWN]
    signed = take_statement(done["receipt"], "signer-destroyed", "receipt")
    said = open_destroyed(signed, reshare().setting.old, 1, certificate_digest(reshare().outcome()))
    assert set(said.keys) == {OWN, SPARE}


@pytest.mark.case("X820", "order to destroy an old key before every new member has acknowledged")
def test_nothing_is_destroyed_before_all_have_acknowledged(desk: Desk, tmp_path: Path) -> None:
    new = reshare()
    files = {index: new.acknowledgement(index).to_bytes().decode() for index in new.members}
    desk.token = Token(OLD, [Key(OWN), Key(SPARE)])
    for index in files:
        left = tuple(pair for pair in files.items() if pair[0] != index)
        for spare in (True, False):
            order = destroy(tmp_path, acknowledgements=left, spare=spare, gone=(SPARE,))
            refused("E_TOO_EARLY", f"members {index} have not", destroy_key, order)
    none = destroy(tmp_path, acknowledgements=())
    refused("E_TOO_EARLY", "members 1, 2, 3 have not", destroy_key, none)
    old = {**files, 2: dkg().acknowledgement(2).to_bytes().decode()}
    for wrong in ({**files, 2: files[1]}, old):
        with pytest.raises(SignerError, match="acknowledgement 2"):
            destroy_key(destroy(tmp_path, acknowledgements=tuple(wrong.items())))
    assert (desk.destroyed, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.case("X751", "order to destroy with the envelope of another share or another group")
def test_the_envelope_is_of_the_old_share(desk: Desk, tmp_path: Path) -> None:
    desk.token = Token(OLD, [Key(OWN)])
    other = dkg().acknowledgement(2).envelope.to_bytes().decode()
    refused("E_TOO_EARLY", "share 2", destroy_key, destroy(tmp_path, envelope=other))
    new = reshare().acknowledgement(1).envelope.to_bytes().decode()
    refused("E_ENVELOPE", "", destroy_key, destroy(tmp_path, envelope=new))
    assert desk.destroyed == []


@pytest.mark.case("X790", "envelope from which the spare's slot was cut off, or with another slot")
@pytest.mark.parametrize("spare", [False, True])
def test_a_slot_that_was_cut_off_stops_the_destruction(
    desk: Desk, tmp_path: Path, spare: bool
) -> None:
    full = Envelope.parse(old_envelope(SPARE).encode())
    own, other = full.slots
    here = other if spare else own
    desk.token = Token(OLD, [Key(here.recipient)])
    for slots in ((here,), (other, own)):
        cut = replace(full, slots=slots).to_bytes().decode()
        order = destroy(tmp_path, envelope=cut, spare=spare, gone=() if spare else (SPARE,))
        refused("E_UNSEAL", "", destroy_key, order)
    assert desk.destroyed == []
    assert not list(tmp_path.iterdir())


@pytest.mark.case("X752", "key that seems absent, and another one does not prove its point")
def test_a_hidden_key_does_not_count(desk: Desk, tmp_path: Path) -> None:
    desk.token = Token(OLD, [Key(OWN, hidden=True)])
    order = destroy(tmp_path, envelope=old_envelope())
    refused("E_PROVENANCE", "another key", destroy_key, order)
    desk.token = Token(OLD, [Key(b"\x04" + b"\x01" * 64)])  # gone: all that is left is proven
    assert destroy_key(destroy(tmp_path, envelope=old_envelope()))["receipt"]


@pytest.mark.case("X821", "old key's point put beside another private key, and taken away later")
@pytest.mark.parametrize("spare", [True, False])
def test_a_borrowed_point_is_not_even_noted(desk: Desk, tmp_path: Path, spare: bool) -> None:
    desk.token = Token(OLD, [Key(SPARE if spare else OWN, borrowed=True)])
    gone = () if spare else (SPARE,)
    order = destroy(tmp_path, spare=spare, gone=gone)
    refused("E_PROVENANCE", "another key", destroy_key, order)
    assert (desk.destroyed, list(tmp_path.iterdir())) == ([], [])
    if spare:  # a note would make of its absence a destroyed key
        desk.token = Token(OLD, [])
        order = destroy(tmp_path, spare=spare, gone=gone)
        refused("E_TOKEN_KEY", "none of the keys", destroy_key, order)


@pytest.mark.case("X753", "cut off just after the token destroyed the key, before that was kept")
def test_what_was_destroyed_before_a_cut_counts_on_that_token(desk: Desk, tmp_path: Path) -> None:
    here = Token(None, [Key(SPARE)], serial=b"\x01" * 32)
    desk.token, desk.cut = here, True
    with pytest.raises(KeyboardInterrupt):
        destroy_key(destroy(tmp_path, spare=True))
    desk.cut = False
    assert desk.destroyed == [SPARE]
    desk.token = Token(None, [Key(b"\x04" + b"\x01" * 64)], serial=b"\x02" * 32)
    refused("E_TOKEN_KEY", "none of the keys", destroy_key, destroy(tmp_path, spare=True))
    desk.token = here
    assert destroy_key(destroy(tmp_path, spare=True))["gone"] == [SPARE.hex()]


def test_a_key_that_opens_a_new_share_stays(desk: Desk, tmp_path: Path) -> None:
    new = reshare().members[2].card.body.kex
    desk.token = Token(OLD, [Key(OWN)])
    order = destroy(tmp_path, envelope=old_envelope(new))
    refused("E_TOO_EARLY", "sealed to the same key", destroy_key, order)


@pytest.mark.case("X822", "receipt without the spare's key that the old card shows")
def test_the_spare_that_a_card_shows_is_a_key_of_the_share(desk: Desk, tmp_path: Path) -> None:
    backup = Person.new("Ada backup")
    first = with_backup(backup)
    ada = first.members[1]
    binding = first.group(active=True).binding(ShareIndex(1))
    with SecretBytes(first.share(1)) as plain:  # not sealed to the spare, as far as this one tells
        envelope = seal_share(plain, binding, [ada.card.body.kex], seeded(4)).to_bytes().decode()

    new = first.reshare(2, ["Ada anew"], without=(1,))
    files = {index: new.acknowledgement(index).to_bytes().decode() for index in new.members}
    order = destroy(
        tmp_path, envelope=envelope, acknowledgements=tuple(files.items()),
        certificate=new.certificate().to_bytes().decode(),
        previous=new.setting.old.to_bytes().decode(),
    )  # fmt: skip
    desk.token = Token(ada, [Key(ada.card.body.kex)])
    refused("E_TOO_EARLY", "opens on other tokens too", destroy_key, order)
    assert desk.destroyed == []


# Vouching


def stated(job: StateBindings) -> Bindings:
    value = state_bindings(take(job))["statement"]
    signed = SignedFile.parse(value, "b", payload_type=PAYLOAD_TYPE, max_payload=MAX_PAYLOAD)
    return Bindings.parse(signed.payload, "b")


@pytest.mark.case("X757", "journal of another holder, or of another group, given to a reshare")
def test_another_s_journal_vouches_for_nothing(desk: Desk, tmp_path: Path) -> None:
    group, path = dkg().group(active=True), tmp_path / "journal.jsonl"
    Journal.open(path, group, 2).close()
    desk.token = Token(dkg().members[2])
    job = StateBindings(token=TOKEN, pin=PIN, journal=str(path), owner=(group.group_id, 2, 1))
    assert (stated(job).index, stated(job).epoch) == (2, 1)
    assert stated(replace(job, owner=None)).index == 2  # whoever exports says nothing of it
    for owner in ((group.group_id, 1, 1), (bytes(32), 2, 1)):
        wrong = take(replace(job, owner=owner))
        refused("E_JOURNAL", "is of share 2", state_bindings, wrong)


@pytest.mark.case(
    "X784", "reshare of epoch 2: a dealer whose journal is of epoch 1, or who has none"
)
def test_a_journal_vouches_for_its_own_epoch(desk: Desk, tmp_path: Path) -> None:
    group, path = dkg().group(active=True), tmp_path / "journal.jsonl"
    Journal.open(path, group, 2).close()
    desk.token = Token(dkg().members[2])
    owner = (group.group_id, 2, 2)
    job = StateBindings(token=TOKEN, pin=PIN, journal=str(path), owner=owner)
    refused("E_JOURNAL_EMPTY", "the journal is of epoch 1", state_bindings, take(job))
    refused("E_JOURNAL_EMPTY", "no journal", state_bindings, take(replace(job, journal=None)))


@pytest.mark.case("X797", "journal that lacks its own history asked to vouch for the others")
def test_a_journal_without_its_history_vouches_for_nothing(desk: Desk, tmp_path: Path) -> None:
    group, path = reshare().group(active=True), tmp_path / "journal.jsonl"
    Journal.open(path, group, 1).close()
    desk.token = Token(reshare().members[1])
    job = StateBindings(token=TOKEN, pin=PIN, journal=str(path), owner=(group.group_id, 1, 2))
    refused("E_JOURNAL_EMPTY", "its own history", state_bindings, take(job))


@pytest.mark.case("X758", "no journal given, and the token remembers one of this share")
def test_no_journal_where_there_was_one(desk: Desk) -> None:
    owner = (dkg().group().group_id, 1, 1)
    desk.token = Token(OLD)
    job = StateBindings(token=TOKEN, pin=PIN, journal=None, owner=owner)
    said = stated(job)
    assert (said.group, said.index, said.epoch, said.sequence, said.changes) == (*owner, 0, ())
    assert said.is_of_no_journal
    desk.token.anchored = True
    refused("E_ANCHOR", "remembers a journal", state_bindings, take(job))
    refused("E_SCHEMA", "owner", state_bindings, take(replace(job, owner=None)))


# A spare whose key is an RSA key

RSA_KEY = rsa.generate_private_key(65537, 2048)
RSA_POINT = rsa_recipient(RSA_KEY.public_key().public_numbers().n.to_bytes(256), "rsa-oaep-sha256")


class RsaKey:
    public_point = RSA_POINT

    def require_own_point(self) -> None:
        """It is its own."""

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return SecretBytes(RSA_KEY.decrypt(enc, oaep))


@pytest.mark.case(
    "X798", "old share that opens on an RSA spare too: its key is gone, and receipted"
)
def test_an_rsa_spare_is_receipted_like_any(desk: Desk, tmp_path: Path) -> None:
    envelope = old_envelope(RSA_POINT)
    desk.token = Token(None, [RsaKey()])
    done = destroy_key(destroy(tmp_path, envelope=envelope, spare=True))
    assert desk.destroyed == [RSA_POINT]
    state = CeremonyState(tmp_path, reshare().setting.roster)
    keep_gone(state, Fields(dict(done), "result"))
    assert gone_keys(state) == (RSA_POINT,)
    desk.token = Token(OLD, [Key(OWN)])
    receipt = destroy_key(destroy(tmp_path, envelope=envelope, gone=gone_keys(state)))["receipt"]
    signed = take_statement(receipt, "signer-destroyed", "receipt")
    said = open_destroyed(signed, reshare().setting.old, 1, certificate_digest(reshare().outcome()))
    assert set(said.keys) == {OWN, RSA_POINT}
