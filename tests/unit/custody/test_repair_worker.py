"""The worker's orders of a repair, with software keys in the place of the token."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from signer.bls.scalar import SecretScalar
from signer.ceremony.repair_delta import DeltaFile
from signer.ceremony.steps import Me
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.repair import FinishRepair, MakeDelta, OpenRepair, ReplaceCard
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.repair_runner import RepairRunner
from signer.custody.worker import repairing
from signer.errors import (
    CardError,
    CeremonyError,
    ProvenanceError,
    SignerError,
    TokenKeyError,
    UsageError,
)
from signer.hsm.profile import load_profile
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.sealing.envelope import Envelope
from signer.sealing.share import seal_share, unseal_share
from signer.secret import SecretBytes
from signer.strict import Fields, parse_object
from signer.threshold.params import ShareIndex
from signer.threshold.share import SecretShare
from tests.simulators import holders
from tests.simulators.ceremony import Person
from tests.simulators.holders import NOW, seeded
from tests.simulators.repair import Repair

HONEST = Repair.of()
SWAPPED: set[str] = set()  # labels of tokens whose receiving key does not prove its point


@dataclass
class SoftwareToken:
    """What the worker sees of a token: two keys."""

    person: Person
    label: str

    @property
    def public_point(self) -> bytes:
        return self.person.card.body.id_sign

    def sign(self, message: bytes) -> bytes:
        key = holders._IDENTITIES[self.public_point]
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = utils.decode_dss_signature(key.sign(message, algorithm))
        return r.to_bytes(32) + s.to_bytes(32)


@dataclass
class Key:
    public_point: bytes
    ecdh: Callable[[bytes], SecretBytes]

    def unlock(self, enc: bytes, aad: bytes) -> SecretBytes:
        return self.ecdh(enc)


def envelope_of(index: int) -> Envelope:
    """Return a helper's envelope, as his ceremony left it."""
    binding = HONEST.setting.group.binding(ShareIndex(index))
    with SecretBytes(HONEST.shares[index]) as share:
        return seal_share(share, binding, [HONEST.people[index].card.body.kex], seeded(index))


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> dict[str, Person]:
    """Put software in the place of every token; return whose is plugged in, by label."""
    people = {str(index): person for index, person in HONEST.people.items()}

    @contextlib.contextmanager
    def session_on(choice: TokenChoice, *_: object, **__: object) -> Iterator[SoftwareToken]:
        yield SoftwareToken(people[str(choice.label)], str(choice.label))

    def identity_on(session: SoftwareToken, card: Card) -> SoftwareToken:
        if session.public_point != card.body.id_sign:
            raise CardError("another token")
        return session

    def receiving_key_of(session: SoftwareToken, point: bytes) -> Key:
        assert session.person.card.body.kex == point
        if session.label in SWAPPED:
            raise ProvenanceError("its public key object is of another key")
        return Key(point, session.person.ecdh)

    def open_share(
        session: SoftwareToken, envelope: Envelope, group: GroupFile
    ) -> tuple[Key, SecretShare]:
        (point,) = envelope.recipients
        key = Key(point, session.person.ecdh)  # as the real one: what opens needs no other proof
        index = ShareIndex(envelope.binding.index)
        with unseal_share(envelope, group.binding(index), key.public_point, key.unlock) as plain:
            return key, SecretShare(index, SecretScalar.from_big_endian(plain))

    for name, soft in {
        "session_on": session_on, "identity_on": identity_on, "receiving_key_of": receiving_key_of,
        "open_share": open_share, "fresh_seed": lambda _: SecretBytes(seeded(3)(32)),
    }.items():  # fmt: skip
        monkeypatch.setattr(repairing, name, soft)
    monkeypatch.setattr("time.time", lambda: NOW)
    SWAPPED.clear()
    return people


def work(job: Job) -> Fields:
    kind, fields = open_order(order_bytes(job))
    return Fields(getattr(repairing, kind)(fields), "result")


def runner(place: Path, index: int, repair: Repair = HONEST) -> RepairRunner:
    folder = place / "folder"
    if not folder.exists():
        folder.mkdir()
        (folder / "roster.json").write_bytes(repair.setting.roster.to_bytes())
        (folder / "previous.json").write_bytes(repair.setting.group.to_bytes())
    made = RepairRunner(
        folder=CeremonyFolder(folder), setting=repair.setting, state=place / str(index),
        token=TokenChoice(profile=load_profile("softhsm2"), label=str(index)),
        pin=SecretSource(file="/pin"), clock=lambda: NOW, worker=lambda job, **_: work(job),
        envelope=None if index == repair.lost else envelope_of(index).to_bytes(),
    )  # fmt: skip
    if made.desk.get("joined.json") is None:
        lost = index == repair.lost
        made.desk.join(Me(ShareIndex(index), None) if lost else Me(None, index), NOW)
    return made


def place_of(index: int) -> dict[str, Any]:
    return {
        "token": TokenChoice(profile=load_profile("softhsm2"), label=str(index)),
        "pin": SecretSource(file="/pin"),
        "roster": HONEST.setting.roster.to_bytes().decode(),
        "group": HONEST.setting.group.to_bytes().decode(),
    }


def test_the_workers_of_all_repair_a_share(people: dict[str, Person], tmp_path: Path) -> None:
    for _ in range(2):
        for index in (1, 3, 4):
            runner(tmp_path, index).run()
    assert not [path for path in (tmp_path / "folder").glob("replacement*")]
    assert runner(tmp_path, 2).run().after.name == "wait"
    for index in (1, 3, 4):
        runner(tmp_path, index).run()
    assert runner(tmp_path, 2).run().after.name == "done"
    kept = runner(tmp_path, 2).desk.get("envelope.json")
    assert kept is not None
    envelope, returning = Envelope.parse(kept), HONEST.people[2]
    assert envelope.binding == HONEST.setting.group.binding(ShareIndex(2), recovered=True)
    kex = returning.card.body.kex
    with unseal_share(envelope, envelope.binding, kex, returning.unlock) as share:
        assert bytes(share.expose()) == HONEST.shares[2]
    group = GroupFile.parse((tmp_path / "folder" / "group-repaired.json").read_bytes())
    assert group.card_of(2) == returning.card


@pytest.mark.case("C22", "a bad delta: the worker complains and signs nothing else; an opening")
def test_a_worker_complains_of_a_bad_delta(people: dict[str, Person], tmp_path: Path) -> None:
    from signer.ceremony.deal import leaves_of
    from signer.sealing import merkle

    for index in (1, 3, 4):
        runner(tmp_path, index).run()
    path = tmp_path / "folder" / "delta-03.json"
    honest = DeltaFile.parse(path.read_bytes())
    again, sealed = HONEST.delta(3), (honest.ciphertexts[1], *honest.ciphertexts[1:])
    assert again.signed.payload_type == honest.signed.payload_type
    value = parse_object(honest.signed.payload, what="delta", max_bytes=99999)
    value["ciphertexts_root"] = merkle.root(leaves_of(sealed)).hex()
    from signer.strict import canonical

    bad = HONEST.people[3].sign(honest.signed.payload_type, canonical(value))
    path.unlink()
    path.write_bytes(DeltaFile(bad, sealed).to_bytes())
    told = runner(tmp_path, 1).run()
    assert told.new == ("complaint-01-against-03.json",)
    assert told.after.name == "aborted"
    assert "helper 3 (holder 3)" in told.after.words
    names = {path.name for path in (tmp_path / "folder").iterdir()}
    assert not [name for name in names if name.startswith("sigma")]


@pytest.mark.case("X823", "each step with a token whose receiving key does not prove its point")
def test_no_step_is_taken_with_a_key_that_is_another_s(
    people: dict[str, Person], tmp_path: Path
) -> None:
    def refused(index: int) -> None:
        SWAPPED.add(str(index))
        before = set(tmp_path.rglob("*"))
        with pytest.raises(ProvenanceError):
            runner(tmp_path, index).run()
        assert set(tmp_path.rglob("*")) == before  # neither a file nor a complaint
        SWAPPED.clear()

    for step in ("delta", "sigma"):
        for index in (1, 3, 4):
            made = runner(tmp_path, index)
            assert made.look().name == step
            refused(index)
            made.run()
    assert runner(tmp_path, 2).look().name == "finish"
    refused(2)
    assert runner(tmp_path, 2).run().step.name == "finish"

    opened = json.loads((runner(tmp_path, 3).desk.path / "helped.json").read_bytes())
    delta = DeltaFile.parse(opened["delta"].encode())
    complaint = HONEST.complaint(4, 3, "E_REPAIR_DECRYPT", delta.digest)
    order = OpenRepair(
        **place_of(3), helper=3, recipient=4, session=opened["session"],
        complaint=json.loads(complaint),
    )  # fmt: skip
    SWAPPED.add("3")
    with pytest.raises(ProvenanceError):
        work(order)
    SWAPPED.clear()
    assert work(order).take("opening")


@pytest.mark.case("X822", "repaired share sealed to the new token only, its card shows a spare too")
def test_a_repaired_share_is_sealed_to_the_spare_on_the_card() -> None:
    backup = Person.new("Cy backup").card.body.kex
    card = Person.new("Cy again", kex_backup=backup).card
    setting = replace(HONEST.setting, roster=replace(HONEST.setting.roster, card=card))
    scalar = SecretScalar.from_big_endian(bytearray(HONEST.shares[2]))
    with SecretShare(ShareIndex(2), scalar) as share:
        assert repairing._sealed(setting, share).recipients == (card.body.kex, backup)


@pytest.mark.case("X684", "an order to open a sum, or a ciphertext that nobody complains of")
def test_a_worker_opens_only_what_a_helper_complains_of(people: dict[str, Person]) -> None:
    made = work(MakeDelta(**place_of(3), helper=3, envelope=envelope_of(3).to_bytes().decode()))
    delta = DeltaFile.parse(str(made.take("delta")).encode())
    session = made.take("session")

    def order(recipient: int, complaint: bytes) -> OpenRepair:
        signed = parse_object(complaint, what="complaint", max_bytes=9999)
        return OpenRepair(
            **place_of(3), helper=3, recipient=recipient, session=session, complaint=signed
        )

    of_helper = HONEST.complaint(4, 3, "E_REPAIR_DECRYPT", delta.digest)
    opening = work(order(4, of_helper)).take("opening")
    assert opening["payloadType"] == "application/vnd.signer.repair-opening.v1+json"
    of_sum = HONEST.complaint(2, 3, "E_REPAIR_SIGMA", bytes(32))
    own = HONEST.complaint(3, 3, "E_REPAIR_DECRYPT", delta.digest)
    for recipient, complaint in ((2, of_sum), (3, own), (1, of_helper), (4, of_sum)):
        with pytest.raises(CeremonyError):
            work(order(recipient, complaint))


@pytest.mark.case("X685", "another's token or envelope, a stranger's order, a roster that mints")
def test_a_worker_helps_only_for_its_own_share(people: dict[str, Person]) -> None:
    text = envelope_of(3).to_bytes().decode()
    with pytest.raises(CardError):
        work(MakeDelta(**place_of(1), helper=3, envelope=text))
    with pytest.raises(UsageError, match="is of share 3"):
        work(MakeDelta(**place_of(1), helper=1, envelope=text))
    with pytest.raises(CeremonyError, match="no helper"):
        work(MakeDelta(**place_of(3), helper=5, envelope=text))
    minting = replace(HONEST.setting.roster, lost=ShareIndex(6))
    order = place_of(3) | {"roster": minting.to_bytes().decode()}
    with pytest.raises(CeremonyError) as caught:
        work(MakeDelta(**order, helper=3, envelope=text))
    assert caught.value.code == "E_ROSTER"


@pytest.mark.case(
    "X686", "files left out of the last order, in another order, or of another repair"
)
def test_a_worker_finishes_only_with_all_files(people: dict[str, Person]) -> None:
    deltas = tuple(HONEST.delta(h).to_bytes().decode() for h in HONEST.helpers)
    sigmas = tuple(HONEST.sigma(h).to_bytes().decode() for h in HONEST.helpers)
    for some, others in ((deltas[:2], sigmas), (deltas, sigmas[:2]), (deltas[::-1], sigmas),
                         (deltas, sigmas[::-1])):  # fmt: skip
        with pytest.raises(SignerError):
            work(FinishRepair(**place_of(2), deltas=some, sigmas=others))
    with pytest.raises(CardError):
        work(FinishRepair(**place_of(1), deltas=deltas, sigmas=sigmas))


@pytest.mark.case("X779", "an order to sign a card whose holder has proved nothing; a spare helps")
def test_a_worker_signs_a_card_after_the_proof_only(
    people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place_of(3) | {
        "helper": 3,
        "deltas": tuple(HONEST.delta(h).to_bytes().decode() for h in HONEST.helpers),
        "sigmas": tuple(HONEST.sigma(h).to_bytes().decode() for h in HONEST.helpers),
    }
    proof = HONEST.acknowledgement().to_bytes().decode()
    signed = work(ReplaceCard(**order, proof=proof)).take("replacement")
    assert signed == HONEST.replacement(3).to_json() | {"signatures": signed["signatures"]}
    wrong = HONEST.acknowledgement(share=HONEST.shares[1]).to_bytes().decode()
    other = Repair.of(nonce=b"\6" * 32).acknowledgement().to_bytes().decode()
    sigma = HONEST.sigma(1, deltas=(bytes(32),) * 3).to_bytes().decode()
    for changes in ({"proof": wrong}, {"proof": other}, {"proof": "{}"}, {"deltas": ("{}",) * 3},
                    {"sigmas": order["sigmas"][:2]}, {"sigmas": (sigma, *order["sigmas"][1:])},
                    {"helper": 5}):  # fmt: skip
        with pytest.raises(SignerError):
            work(ReplaceCard(**order | {"proof": proof} | changes))

    def spare(*_: object, **__: object) -> Iterator[None]:
        raise TokenKeyError("not the one that is meant")

    monkeypatch.setattr(repairing, "session_on", spare)
    with pytest.raises(TokenKeyError) as caught:
        work(ReplaceCard(**order, proof=proof))
    assert "a spare opens his share but cannot sign" in caught.value.hint
