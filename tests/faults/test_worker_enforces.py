"""A real worker on a real token, hired by an agent that lies: it signs nothing it should not."""

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.bls.encoding import PublicKey
from signer.custody.desk import Desk
from signer.custody.jobs.shares import SignBatch
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.custody.worker_process import run_worker
from signer.errors import SignerError
from signer.hsm.profile import load_profile
from signer.messages.address import ExecutionAddress
from signer.messages.networks import HOODI, MAINNET
from signer.messages.request import SignRequest
from signer.policy.policy import Policy
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from signer.threshold.params import ShareIndex
from signer.threshold.partial import verify_partial
from tests.simulators.holders import NOW, SimulatedPool

ADDRESS = ExecutionAddress.parse(TEST_ADDRESS)
STRANGE = ExecutionAddress(b"\xee" * 20)
OTHER_POOL = SimulatedPool.new(seed=7)
SECONDS = 20.0


class Hire:
    """The true order for holder 1's share, and ways to give an altered one."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.holder = pool.holders[0]
        self.desk = Desk.lay(pool.group, pool.policy, self.holder.envelope)
        self.request = self.request_to(ADDRESS)
        group = self.desk.group
        self.order = SignBatch(
            token=TokenChoice(profile=load_profile("softhsm2"), label=self.holder.token.label),
            pin=SecretSource(file=str(self.holder.token.pin_file)),
            network=group.network,
            role=group.role,
            group_public_key=bytes(group.public_key),
            epoch=group.epoch,
            index=int(self.desk.index),
            public_share=bytes(self.desk.public_share),
            first_policy_digest=group.policy_digest,
            threshold=group.threshold.t,
            holders=group.id_signs,
            certificate=group.certificate or bytes(32),
            amendments=tuple(amendment.to_json() for amendment in group.amendments),
            policy=self.desk.policy.to_json(),
            envelope=self.desk.envelope_text,
            request=self.request.to_bytes().decode(),
            skip=frozenset(),
            journal="/nowhere",
        )

    def request_to(self, *addresses: ExecutionAddress) -> SignRequest:
        return SignRequest.new(self.desk.group, list(enumerate(addresses)), expires=NOW)

    def do(self, **changes: Any) -> list[str]:
        environment = {"SOFTHSM2_CONF": str(self.holder.token.config)}
        order = replace(self.order, **changes)
        with tempfile.TemporaryDirectory() as folder:
            if "journal" not in changes:
                order = replace(order, journal=self.journal_of(order, Path(folder)))
            result = run_worker(order, environment=environment, seconds=SECONDS)
        return result.array("partials", low=0, high=100)

    def journal_of(self, order: SignBatch, folder: Path) -> str:
        """A journal that ends with the INTENT of the order's request, if it is one."""
        path = folder / "journal.jsonl"
        journal = Journal.open(path, self.desk.group, self.desk.index)
        with journal, contextlib.suppress(SignerError):
            request = SignRequest.parse(order.request.encode())
            journal.intent(request.digest, request.items, 0)
        return str(path)

    def refusal(self, **changes: Any) -> str:
        with pytest.raises(SignerError) as refused:
            self.do(**changes)
        return f"{type(refused.value).__name__} {refused.value.code}"

    def envelope_that_says(self, **fields: Any) -> str:
        """The envelope, edited to agree with a lie; its ciphertext is what it was."""
        value = json.loads(self.desk.envelope_text) | fields
        return json.dumps(value)


@pytest.fixture
def hire(provisioned: Pool) -> Hire:
    return Hire(provisioned)


def test_the_true_order_is_carried_out(hire: Hire) -> None:
    request = hire.request_to(ADDRESS, ADDRESS, ADDRESS)
    partials = hire.do(request=request.to_bytes().decode(), skip=frozenset({1}))
    group = hire.desk.group
    roots = request.signing_roots(group.network, group.public_key)
    assert len(partials) == 2
    for root, partial in zip([roots[0], roots[2]], partials, strict=True):
        verify_partial(hire.desk.public_share, root, bytes.fromhex(partial))


OTHER_KEY = bytes(
    OTHER_POOL.group.vector.public_share(ShareIndex(2))
)  # a good point, of nobody here
WIDER = Policy(labels={ADDRESS: "treasury 1", STRANGE: "mine"})
LIES: dict[str, Callable[[Hire], dict[str, Any]]] = {
    "network": lambda hire: {"network": HOODI},
    "network's fork": lambda hire: {
        "network": replace(
            MAINNET, name="evil", genesis_fork_version=b"\0\0\0\1",
            genesis_validators_root=b"\1" * 32,
        )
    },
    "epoch": lambda hire: {"epoch": 2},
    "index": lambda hire: {"index": 2},
    "public share": lambda hire: {"public_share": OTHER_KEY},
    "group key": lambda hire: {"group_public_key": OTHER_KEY},
    "policy": lambda hire: {"policy": WIDER.to_json(), "first_policy_digest": WIDER.digest},
    "threshold": lambda hire: {"threshold": 2},
    "holders": lambda hire: {"holders": OTHER_POOL.group.id_signs},
    "holders' order": lambda hire: {"holders": hire.order.holders[::-1]},
    "fewer holders": lambda hire: {"holders": hire.order.holders[:4]},
    "anything": lambda hire: {"envelope": hire.pool.holders[1].envelope.read_text()},
}  # fmt: skip


@pytest.mark.case("X223", "order with another network, epoch, index, share, key, policy, holders")
@pytest.mark.parametrize("lie", LIES)
def test_the_envelope_does_not_open_under_a_lie(hire: Hire, lie: str) -> None:
    # Another holder's envelope is for another token, which shows before the PIN is tried.
    code = "TokenKeyError E_TOKEN_KEY" if lie == "anything" else "SealError E_ENVELOPE"
    assert hire.refusal(**LIES[lie](hire)) == code


@pytest.mark.case("X224", "the same lies, with the envelope's own words edited to agree")
@pytest.mark.parametrize("lie", [name for name in LIES if name != "anything"])
def test_nor_does_an_envelope_edited_to_agree(hire: Hire, lie: str) -> None:
    changes = LIES[lie](hire)
    order = replace(hire.order, **changes)
    from signer.messages.group_id import group_id_of, holders_digest

    envelope = hire.envelope_that_says(
        group=group_id_of(order.network, order.role, order.group_public_key).hex(),
        epoch=order.epoch,
        index=order.index,
        public_share=order.public_share.hex(),
        policy_digest=order.first_policy_digest.hex(),
        holders=holders_digest(order.threshold, order.holders).hex(),
    )
    assert hire.refusal(**changes, envelope=envelope) == "SealError E_UNSEAL"


@pytest.mark.case("X387", "envelope edited to be a recovered share's")
def test_where_an_envelope_came_from_cannot_be_edited(hire: Hire) -> None:
    assert hire.refusal(envelope=hire.envelope_that_says(recovered=True)) == "SealError E_UNSEAL"


@pytest.mark.case("P11", "order with another policy than the first one's digest names")
def test_another_policy_without_an_amendment_is_refused(hire: Hire) -> None:
    assert hire.refusal(policy=WIDER.to_json()) == "PolicyError E_POLICY"


@pytest.mark.case("R8", "order that gives the share another role")
@pytest.mark.parametrize("role", ["validator", "approval"])
def test_another_role_does_not_sign_it(hire: Hire, role: str) -> None:
    envelope = hire.envelope_that_says(role=role)
    assert hire.refusal(role=role, envelope=envelope) == "DeniedError E_ROLE"


@pytest.mark.case("P11", "agent that lets an address through which the policy does not list")
def test_the_worker_holds_the_allow_list_itself(hire: Hire) -> None:
    request = hire.request_to(ADDRESS, STRANGE).to_bytes().decode()
    assert hire.refusal(request=request) == "DeniedError E_TARGET"
    assert len(hire.do(request=request, skip=frozenset({1}))) == 1


@pytest.mark.case("R3", "request with a root or domain of its own, given to the worker itself")
def test_the_worker_takes_no_root(hire: Hire) -> None:
    value = hire.request.to_json()
    for extra in ({"signing_root": "00" * 32}, {"domain": "00" * 32}):
        assert hire.refusal(request=json.dumps(value | extra)) == "SchemaError E_SCHEMA"


@pytest.mark.case("X225", "request that names another group, network or key: the root is ours")
def test_what_the_request_says_of_the_group_moves_no_root(hire: Hire) -> None:
    lie = replace(
        hire.request, network="hoodi", group_id=bytes(32), group_public_key=OTHER_KEY, epoch=9
    )
    assert hire.do(request=lie.to_bytes().decode()) == hire.do()


@pytest.mark.case("S6", "order whose group key is no point")
@pytest.mark.parametrize("name", ["group_public_key", "public_share"])
def test_keys_are_points(hire: Hire, name: str) -> None:
    for point in (bytes(48), b"\xc0" + bytes(47), b"\xff" * 48):
        assert hire.refusal(**{name: point}) == "EncodingError E_POINT"
    assert PublicKey(OTHER_KEY)


def bad_slot(hire: Hire, name: str) -> str:
    value = json.loads(hire.desk.envelope_text)
    text = value["slots"][0][name]
    value["slots"][0][name] = text[:-2] + f"{int(text[-2:], 16) ^ 1:02x}"
    return json.dumps(value)


@pytest.mark.case("X226", "envelope with one bit of each of its parts changed")
def test_an_altered_envelope_does_not_open(hire: Hire) -> None:
    assert hire.refusal(envelope=bad_slot(hire, "ciphertext")) == "SealError E_UNSEAL"
    assert hire.refusal(envelope=bad_slot(hire, "enc")).split()[0] in ("SealError", "EncodingError")
    assert hire.refusal(envelope=bad_slot(hire, "recipient")) == "EncodingError E_POINT"


# The PIN's file and the token


@pytest.mark.case("T2", "PIN file missing, empty, open to others, a link, too long, with a NUL")
def test_pin_files_are_judged(hire: Hire, tmp_path: Path) -> None:
    pin = tmp_path / "pin"

    def told() -> str:
        return hire.refusal(pin=SecretSource(file=str(pin))).split()[1]

    assert told() == "E_SECRET_FILE"
    pin.touch(mode=0o600)
    assert told() == "E_PIN_EMPTY"
    pin.write_text("x" * 300)
    assert told() == "E_SECRET_FILE"
    pin.write_bytes(b"12\x0034")
    assert told() == "E_SECRET_FILE"
    pin.write_bytes(hire.holder.token.pin_file.read_bytes())
    pin.chmod(0o644)
    assert told() == "E_SECRET_FILE"
    pin.unlink()
    pin.symlink_to(hire.holder.token.pin_file)
    assert told() == "E_SECRET_FILE"


@pytest.mark.case("T4", "no such token, another token's label, a wrong serial")
@pytest.mark.parametrize("choice", [{"label": "nobody"}, {"label": None, "serial": "00"}])
def test_the_token_must_be_the_one(hire: Hire, choice: dict[str, Any]) -> None:
    token = replace(hire.order.token, **choice)
    assert hire.refusal(token=token) == "TokenNotFoundError E_TOKEN_ABSENT"


@pytest.mark.case("T4", "another holder's token, with a label of its own and the same PIN")
def test_another_holders_token_does_not_open_it(hire: Hire) -> None:
    other: Holder = hire.pool.holders[1]
    hire.holder = other
    token = replace(hire.order.token, label=other.token.label)
    assert hire.refusal(token=token) == "TokenKeyError E_TOKEN_KEY"
