from dataclasses import replace
from typing import Any

import pytest

from signer.custody.batch import batch_job
from signer.custody.jobs.shares import SignBatch
from signer.errors import GroupFileError, PolicyError, SignerError
from signer.messages.amendment import PAYLOAD_TYPE as AMENDMENT_TYPE
from signer.messages.amendment import AmendmentBody
from signer.messages.card import Card
from signer.messages.dsse import JointlySignedFile, Signature, SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.replacement import PAYLOAD_TYPE, Replacement, ReplacementBody
from tests.simulators.holders import OTHER, SimulatedPool, make_card, signed_as

POOL = SimulatedPool.new(3, 5)
GROUP = POOL.group


def body_of(group: GroupFile, index: int, card: Card, /, **changes: Any) -> ReplacementBody:
    fields: dict[str, Any] = {
        "group": group.group_id, "epoch": group.epoch, "number": len(group.replacements) + 1,
        "index": index, "card": card.digest, "ceremony": b"\1" * 32,
        "amendments": group.amendment_number,
    }  # fmt: skip
    return ReplacementBody(**(fields | changes))


def signed(group: GroupFile, body: ReplacementBody, helpers: tuple[int, ...]) -> list[SignedFile]:
    return [signed_as(group.id_signs[h - 1], body.to_payload(), PAYLOAD_TYPE) for h in helpers]


def replaced(
    group: GroupFile,
    index: int,
    card: Card,
    helpers: tuple[int, ...] = (1, 3, 4),
    /,
    **changes: Any,
) -> GroupFile:
    files = signed(group, body_of(group, index, card, **changes), helpers)
    return group.replaced(group.succession.join(group.replacements, card, files))


def amended(group: GroupFile, number: int, by: tuple[bytes, ...] | None = None) -> GroupFile:
    """Return the group with an amendment that these identity keys signed."""
    policy = replace(POOL.policy, labels={**POOL.policy.labels, OTHER: f"number {number}"})
    body = AmendmentBody(
        group=group.group_id, epoch=group.epoch, number=number,
        previous=group.current_policy_digest, policy=policy.to_json(),
    )  # fmt: skip
    files = [signed_as(point, body.to_payload(), AMENDMENT_TYPE) for point in by or group.id_signs]
    signatures = [Signature(file.key_id, file.signature) for file in files]
    amendment = group.chain.join(group.amendments, body, signatures)
    return replace(group, amendments=(*group.amendments, amendment))


def test_a_replaced_card_is_in_force_and_the_envelopes_stay_bound() -> None:
    card = make_card("again")
    group = replaced(GROUP, 2, card)
    assert GroupFile.parse(group.to_bytes()) == group
    assert group.card_of(2) == card
    assert group.cards == GROUP.cards
    assert group.id_signs == (GROUP.id_signs[0], card.body.id_sign, *GROUP.id_signs[2:])
    assert group.holders_digest == GROUP.holders_digest
    assert group.digest != GROUP.digest


def test_a_replaced_holder_helps_to_replace_another() -> None:
    first, second, third = make_card("again"), make_card("anew"), make_card("once more")
    group = replaced(replaced(GROUP, 2, first), 4, second, (2, 3, 5))
    group = replaced(group, 2, third, (1, 3, 4))
    assert GroupFile.parse(group.to_bytes()) == group
    assert (group.card_of(2), group.card_of(4)) == (third, second)


@pytest.mark.parametrize(
    ("helpers", "changes", "words"),
    [
        ((1, 3), {}, "2 holders signed it"),
        ((1, 3, 3), {}, "twice"),
        ((3, 1, 4), {}, "out of order"),
        ((1, 2, 3), {}, "no other holder's"),
        ((1, 3, 4), {"group": b"\2" * 32}, "another group"),
        ((1, 3, 4), {"epoch": 2}, "another group or epoch"),
        ((1, 3, 4), {"number": 2}, "1 is next"),
        ((1, 3, 4), {"index": 6}, "no share 6"),
        ((1, 3, 4), {"card": b"\2" * 32}, "another card"),
    ],
)
@pytest.mark.case("X672", "a replacement by too few, twice, by himself, of another group or card")
def test_a_replacement_that_counts_for_nothing(
    helpers: tuple[int, ...], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(GroupFileError, match=words):
        replaced(GROUP, 2, make_card("again"), helpers, **changes)


@pytest.mark.case(
    "X673", "a replacement by strangers, of different statements, with a bad signature"
)
def test_who_signed_a_replacement() -> None:
    card = make_card("again")
    body, succession = body_of(GROUP, 2, card), GROUP.succession
    strangers = [make_card(f"x{at}").body.id_sign for at in range(3)]
    files = [signed_as(point, body.to_payload(), PAYLOAD_TYPE) for point in strangers]
    with pytest.raises(GroupFileError, match="no other holder's"):
        succession.join((), card, files)
    good = signed(GROUP, body, (1, 3, 4))
    other = signed(GROUP, replace(body, ceremony=b"\2" * 32), (4,))
    with pytest.raises(GroupFileError, match="different statements"):
        succession.join((), card, [*good[:2], *other])
    with pytest.raises(GroupFileError, match="different statements"):
        succession.join((), card, [])
    forged = replace(good[2], signature=good[1].signature)
    with pytest.raises(GroupFileError, match="does not verify"):
        succession.join((), card, [*good[:2], forged])


@pytest.mark.case("X674", "a lost token's key signs on: for another replacement, or an amendment")
def test_a_lost_key_counts_no_more() -> None:
    old = GROUP.id_signs[1]
    group = replaced(GROUP, 2, make_card("again"))
    card = make_card("anew")
    payload = body_of(group, 4, card).to_payload()
    files = [signed_as(point, payload, PAYLOAD_TYPE) for point in (GROUP.id_signs[0], old)]
    files += [signed_as(GROUP.id_signs[2], payload, PAYLOAD_TYPE)]
    with pytest.raises(GroupFileError, match="no other holder's"):
        group.succession.join(group.replacements, card, files)
    with pytest.raises(PolicyError):
        amended(group, 1, GROUP.id_signs)
    after = amended(group, 1)
    assert GroupFile.parse(after.to_bytes()) == after


@pytest.mark.case("X675", "a replacement moved before or behind an amendment, or taken out")
def test_amendments_and_replacements_keep_their_order() -> None:
    group = amended(replaced(amended(GROUP, 1), 2, make_card("again")), 2)
    assert group.replacements[0].body.amendments == 1
    assert GroupFile.parse(group.to_bytes()) == group
    for wrong in (
        replace(group, replacements=()),  # the second amendment was signed by the new key
        replace(group, amendments=()),  # the replacement came after the first
        replace(group, amendments=group.amendments[1:]),
    ):
        with pytest.raises(SignerError):
            GroupFile.parse(wrong.to_bytes())
    with pytest.raises(GroupFileError, match="came before"):
        replaced(group, 4, make_card("anew"), (1, 2, 3), amendments=0)


@pytest.mark.case("X676", "replacements swapped, one left out, a card exchanged, an unknown field")
def test_a_succession_is_read_strictly() -> None:
    group = replaced(replaced(GROUP, 2, make_card("again")), 4, make_card("anew"), (1, 2, 3))
    first, second = group.replacements
    for wrong in ((second, first), (second,), (first, first)):
        with pytest.raises(GroupFileError):
            GroupFile.parse(replace(group, replacements=wrong).to_bytes())
    other = make_card("again")
    for card in (other, GROUP.cards[4]):
        exchanged = Replacement(first.body, card, first.signed)
        with pytest.raises(GroupFileError):
            GroupFile.parse(replace(group, replacements=(exchanged,)).to_bytes())
    with pytest.raises(SignerError):
        GROUP.succession.parse([first.to_json() | {"more": 1}])
    spaced = JointlySignedFile(PAYLOAD_TYPE, first.signed.payload + b" ", first.signed.signatures)
    with pytest.raises(GroupFileError, match="canonical"):
        GROUP.succession.parse([{"card": first.card.to_json(), "statement": spaced.to_json()}])


@pytest.mark.case("X677", "a replacement with a key that was ever in another card of the group")
def test_a_replaced_card_has_fresh_keys() -> None:
    lost, other = GROUP.cards[1].body, GROUP.cards[4].body
    for changes in ({"kex": lost.kex}, {"kex": other.kex}, {"kex_backup": other.kex}):
        with pytest.raises(GroupFileError, match="shows a key"):
            replaced(GROUP, 2, make_card("again", **changes))
    with pytest.raises(GroupFileError, match="same name"):
        replaced(GROUP, 2, make_card("holder 5"))


@pytest.mark.case("X874", "a replacement on a token that can prove nothing of its keys")
def test_a_replaced_card_is_of_a_token_that_proves_its_keys() -> None:
    with pytest.raises(GroupFileError, match="replacement 1: its token is UNPROVEN"):
        replaced(GROUP, 2, make_card("again", proven=False))


class TestWorker:
    """The worker believes the bound keys alone, since the envelope opens under no others."""

    @staticmethod
    def job(group: GroupFile, **changes: Any) -> SignBatch:
        from types import SimpleNamespace

        from signer.custody.jobs.sources import SecretSource, TokenChoice
        from signer.hsm.profile import load_profile
        from signer.policy.policy import Policy

        policy = group.amendments[-1].body.policy if group.amendments else POOL.policy.to_json()
        desk: Any = SimpleNamespace(
            group=group, index=1, public_share=group.vector.public_share(group.indices[0]),
            policy=Policy.parse(policy), envelope_text="",
        )  # fmt: skip
        from pathlib import Path

        journal: Any = SimpleNamespace(path=Path("/j"), anchored_serials=frozenset())
        token = TokenChoice(profile=load_profile("softhsm2"), label="x")
        made = batch_job(desk, journal, token, SecretSource(file="/p"), POOL.request(1),
                         skip=frozenset(), threads=1)  # fmt: skip
        return replace(made, **changes)

    def test_it_follows_the_succession(self) -> None:
        from signer.custody.worker.agreement import agreed_policy, binding_of

        group = amended(replaced(GROUP, 2, make_card("again")), 1)
        job = self.job(group)
        assert agreed_policy(job).digest == group.current_policy_digest
        assert binding_of(job, recovered=False) == GROUP.binding(GROUP.indices[0])

    @pytest.mark.case("X678", "an agent that slips in a key, hides a replacement or makes one up")
    def test_an_agent_cannot_slip_in_a_key(self) -> None:
        from signer.custody.worker.agreement import agreed_policy, binding_of

        group = amended(replaced(GROUP, 2, make_card("again")), 1)
        with pytest.raises(PolicyError):
            agreed_policy(self.job(group, replacements=()))
        slipped = self.job(group, holders=group.id_signs, replacements=())
        assert agreed_policy(slipped).digest == group.current_policy_digest
        assert binding_of(slipped, recovered=False) != GROUP.binding(GROUP.indices[0])

        card = make_card("mallory")
        body = body_of(GROUP, 2, card)
        strangers = [make_card(f"x{at}").body.id_sign for at in range(3)]
        made_up = JointlySignedFile(
            PAYLOAD_TYPE,
            body.to_payload(),
            tuple(
                Signature(file.key_id, file.signature)
                for file in (signed_as(p, body.to_payload(), PAYLOAD_TYPE) for p in strangers)
            ),
        )
        value = {"card": card.to_json(), "statement": made_up.to_json()}
        with pytest.raises(GroupFileError):
            agreed_policy(self.job(GROUP, replacements=(value,)))
