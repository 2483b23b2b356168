from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.custody.desk import Desk, require_pinned
from signer.errors import ConfigError, InputError, SealError
from signer.messages.amendment import PAYLOAD_TYPE as AMENDMENT_TYPE
from signer.messages.networks import MAINNET, Network
from signer.policy.amending import adopt, propose
from signer.policy.policy import NEVER, Policy
from signer.sealing.envelope import Envelope
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from tests.simulators.desk import desk_of
from tests.simulators.holders import ADDRESS, OTHER, SimulatedPool, make_card, seeded, signed_as

POOL = SimulatedPool.new()
DEVNET = Network(
    name="devnet-7",
    genesis_fork_version=bytes.fromhex("10000038"),
    genesis_validators_root=b"\7" * 32,
    capella_fork_version=bytes.fromhex("40000038"),
    chain_id=7042,
)


class Papers:
    """A desk's three files."""

    def __init__(self, folder: Path) -> None:
        self.group, self.policy, self.envelope = (folder / n for n in ("g", "p", "e"))
        self.group.write_bytes(POOL.group.to_bytes())
        self.write_policy(str(ADDRESS))
        self.envelope.write_text(desk_of(POOL).envelope_text)

    def write_policy(self, address: str) -> None:
        self.policy.write_text(
            f'version: 2\napproval: never\naddresses: [{{address: "{address}", label: treasury}}]\n'
        )

    def lay(self) -> Desk:
        return Desk.lay(self.group, self.policy, self.envelope)

    def refusal(self) -> str:
        with pytest.raises(ConfigError) as refused:
            self.lay()
        return refused.value.message


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


def test_papers_that_belong_together_make_a_desk(papers: Papers) -> None:
    assert papers.lay() == desk_of(POOL)


@pytest.mark.case("P11", "policy that is not the one the group file names")
def test_another_policy_is_refused(papers: Papers) -> None:
    papers.write_policy(str(OTHER))
    assert "is not the one the group file names" in papers.refusal()


@pytest.mark.case("X21", "envelope sealed anew to another key than the card's")
def test_an_envelope_for_another_key_is_refused(papers: Papers) -> None:
    desk = desk_of(POOL)
    stranger = make_card("stranger").body.kex
    with SecretBytes(POOL.shares[1]) as share:
        sealed = seal_share(share, desk.envelope.binding, [stranger], seeded(4))
    papers.envelope.write_bytes(sealed.to_bytes())
    assert "not for the key on the card of share 1" in papers.refusal()


@pytest.mark.case("P11", "first policy after an amendment, and the amended one before it")
def test_the_policy_in_force_is_the_one_that_lies_here(papers: Papers) -> None:
    new = Policy(labels={OTHER: "treasury"}, approval=NEVER)
    body = propose(POOL.group, new)
    payload = body.to_payload()
    signed = [signed_as(point, payload, AMENDMENT_TYPE) for point in POOL.group.id_signs]
    papers.group.write_bytes(adopt(POOL.group, body, signed).to_bytes())
    assert "amendment 1 brought into force" in papers.refusal()
    papers.write_policy(str(OTHER))
    desk = papers.lay()
    assert desk.policy == new
    assert desk.envelope == desk_of(POOL).envelope


def test_a_recovered_share_is_of_the_group_too(papers: Papers) -> None:
    """Whether it may sign is for the journal to say."""
    desk = desk_of(POOL)
    binding = POOL.group.binding(desk.index, recovered=True)
    with SecretBytes(POOL.shares[1]) as share:
        sealed = seal_share(share, binding, desk.envelope.recipients, seeded(4))
    papers.envelope.write_bytes(sealed.to_bytes())
    assert papers.lay().envelope.binding.recovered


@pytest.mark.case("X210", "envelope of another group, epoch, index, share, role, policy, holders")
@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"group": bytes(32)}, "group differs"),
        ({"epoch": 2}, "epoch differs"),
        ({"index": 2}, "public_share differs"),
        ({"index": 6}, "nobody's"),
        ({"public_share": bytes(48)}, "public_share differs"),
        ({"role": "validator"}, "role differs"),
        ({"policy_digest": bytes(32)}, "policy_digest differs"),
        ({"holders": bytes(32)}, "holders differs"),
    ],
    ids=str,
)
def test_anothers_envelope_is_refused(papers: Papers, changes: dict[str, Any], word: str) -> None:
    envelope = desk_of(POOL).envelope
    binding = replace(envelope.binding, **changes)
    papers.envelope.write_bytes(Envelope(binding, envelope.slots).to_bytes())
    assert word in papers.refusal()


@pytest.mark.case("F1", "group file, policy, envelope missing, empty, of another kind")
@pytest.mark.parametrize("name", ["group", "policy", "envelope"])
def test_each_paper_must_be_there_and_be_what_it_is(papers: Papers, name: str) -> None:
    path: Path = getattr(papers, name)
    path.write_bytes(b"")
    for prepare in (
        lambda: None,
        lambda: path.write_bytes(b"\x1f\x8b\x08\x00"),
        lambda: path.write_text('{"type": "signer-request", "version": 1}'),
        lambda: path.unlink(),
    ):
        prepare()
        with pytest.raises((InputError, SealError)):
            papers.lay()


@pytest.mark.case("F17", "a folder where the group file should be")
def test_a_folder_is_no_paper(papers: Papers) -> None:
    papers.group.unlink()
    papers.group.mkdir()
    with pytest.raises(InputError):
        papers.lay()


@pytest.mark.case("X211", "group of a custom network that is not pinned here")
def test_a_custom_network_must_be_pinned() -> None:
    require_pinned(MAINNET, None)
    require_pinned(DEVNET, DEVNET)
    for pinned in (None, replace(DEVNET, chain_id=1), replace(DEVNET, name="devnet-8"), MAINNET):
        with pytest.raises(ConfigError, match="not pinned here") as refused:
            require_pinned(DEVNET, pinned)
        assert DEVNET.digest.hex() in refused.value.hint
