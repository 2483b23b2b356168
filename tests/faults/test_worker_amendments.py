"""A policy amended by real tokens, and a real worker whose agent lies about it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from signer.custody.desk import read_group
from signer.messages.address import ExecutionAddress
from signer.messages.amendment import PAYLOAD_TYPE
from signer.messages.card import fingerprint
from signer.messages.dsse import JointlySignedFile, Signature, SignedFile
from signer.messages.group_file import GroupFile
from signer.messages.group_id import holders_digest
from signer.messages.networks import HOODI
from signer.policy.amending import propose
from signer.policy.policy import NEVER, Policy
from signer.testing.pool import TEST_ADDRESS, Pool, summary
from tests.conftest import SECOND_ADDRESS, copy_of
from tests.faults.test_worker_enforces import Hire
from tests.simulators.holders import SimulatedPool, signed_as
from tests.simulators.terminal import at_terminal

ADDRESS = ExecutionAddress.parse(TEST_ADDRESS)
SECOND = ExecutionAddress.parse(SECOND_ADDRESS)
THIRD = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
STRANGERS = SimulatedPool.new(3, 5, seed=9).group


def amend(pool: Pool, *addresses: str) -> None:
    """Let all five holders sign a policy of `addresses`, each with his own token, and adopt it."""
    before = pool.policy.rename(pool.folder / "before.yaml")
    pool.write_policy(addresses)
    number = read_group(pool.group).amendment_number + 1
    proposal = pool.folder / f"amendment-{number}.json"
    told = summary(
        pool.run("policy", "amend", "--group", pool.group, "--policy", pool.policy,
                 "--current", before, "--out", proposal, "--json")
    )  # fmt: skip
    assert told["number"] == number
    files: list[str | Path] = []
    for holder in pool.holders:
        out = holder.folder / f"signature-{number}.json"
        signed = summary(
            pool.run("policy", "sign", proposal, "--group", pool.group, *holder.token_options,
                     "--yes-i-checked", told["policy_digest"][:12], "--out", out, "--json",
                     holder=holder)
        )  # fmt: skip
        assert (signed["index"], signed["holder"]) == (holder.index, holder.name)
        files = ["--signature", out, *files]  # in any order
    adopted = pool.folder / f"group-{number}.json"
    pool.run("policy", "adopt", proposal, "--group", pool.group, *files, "--out", adopted)
    adopted.replace(pool.group)


@pytest.fixture(scope="module")
def amended(provisioned: Pool, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A pool whose policy was amended twice: first only the third address, then the first again."""
    pool = copy_of(provisioned, tmp_path_factory.mktemp("amended") / "p")
    amend(pool, THIRD)
    amend(pool, TEST_ADDRESS)
    return pool


@pytest.fixture
def hire(amended: Pool) -> Hire:
    return Hire(amended)


def test_the_last_policy_is_the_one_that_counts(hire: Hire) -> None:
    """The envelope is the one of the split; the address it once allowed is denied now."""
    assert hire.desk.group.amendment_number == 2
    assert len(hire.do()) == 1
    to_second = hire.request_to(SECOND).to_bytes().decode()
    assert hire.refusal(request=to_second) == "DeniedError E_TARGET"


def first_policy() -> Policy:
    return Policy(labels={ADDRESS: "treasury 1", SECOND: "treasury 2"}, approval=NEVER)


def chain(hire: Hire) -> tuple[dict[str, Any], ...]:
    return hire.order.amendments


def with_signatures(hire: Hire, *entries: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    one, two = chain(hire)
    return one, two | {"signatures": list(entries)}


def by_strangers(hire: Hire, policy: Policy) -> tuple[dict[str, Any], ...]:
    """A chain that goes on with `policy`, which invented holders signed."""
    payload = propose(hire.desk.group, policy).to_payload()
    files: list[SignedFile] = [
        signed_as(point, payload, PAYLOAD_TYPE) for point in STRANGERS.id_signs
    ]
    entries = tuple(Signature(file.key_id, file.signature) for file in files)
    return *chain(hire), JointlySignedFile(PAYLOAD_TYPE, payload, entries).to_json()


WIDE = Policy(labels={SECOND: "mine"}, approval=NEVER)
LIES: dict[str, Callable[[Hire], dict[str, Any]]] = {
    "the first policy again": lambda hire: {"policy": first_policy().to_json()},
    "another policy": lambda hire: {"policy": WIDE.to_json()},
    "unsigned": lambda hire: {"amendments": with_signatures(hire)},
    "partly signed": lambda hire: {
        "amendments": with_signatures(hire, *chain(hire)[1]["signatures"][:4])
    },
    "one signed for all": lambda hire: {
        "amendments": with_signatures(hire, *chain(hire)[1]["signatures"][:1] * 5)
    },
    "signatures of the one before": lambda hire: {
        "amendments": with_signatures(hire, *chain(hire)[0]["signatures"])
    },
    "signed by strangers": lambda hire: {
        "amendments": by_strangers(hire, WIDE), "policy": WIDE.to_json()
    },
    "reordered": lambda hire: {"amendments": chain(hire)[::-1]},
    "without its beginning": lambda hire: {"amendments": chain(hire)[1:]},
    "one twice": lambda hire: {"amendments": (chain(hire)[0], *chain(hire))},
    "of another group": lambda hire: {"network": HOODI},
    "of another epoch": lambda hire: {"epoch": 2},
    "from another first policy": lambda hire: {"first_policy_digest": WIDE.digest},
    "none at all": lambda hire: {"amendments": ()},
}  # fmt: skip


@pytest.mark.case(
    "P11", "order whose amendment is unsigned, partly, foreign-signed, reordered, cut"
)
@pytest.mark.parametrize("lie", LIES)
def test_the_worker_verifies_the_chain_itself(hire: Hire, lie: str) -> None:
    assert hire.refusal(**LIES[lie](hire)) == "PolicyError E_POLICY"


@pytest.mark.case("X388", "agent that invents holders who signed an amendment: nothing opens")
def test_invented_holders_open_nothing(hire: Hire) -> None:
    lie: dict[str, Any] = {
        "holders": STRANGERS.id_signs,
        "amendments": by_strangers(hire, WIDE)[2:],
        "policy": WIDE.to_json(),
    }
    assert hire.refusal(**lie) == "PolicyError E_POLICY"  # number 3 cannot be the first
    body = propose(replace(hire.desk.group, amendments=()), WIDE)
    files = [signed_as(p, body.to_payload(), PAYLOAD_TYPE) for p in STRANGERS.id_signs]
    entries = tuple(Signature(file.key_id, file.signature) for file in files)
    forged = JointlySignedFile(PAYLOAD_TYPE, body.to_payload(), entries).to_json()
    lie["amendments"] = (forged,)
    lie["request"] = hire.request_to(SECOND).to_bytes().decode()
    assert hire.refusal(**lie) == "SealError E_ENVELOPE"
    holders = holders_digest(hire.order.threshold, STRANGERS.id_signs).hex()
    edited = hire.envelope_that_says(holders=holders)
    assert hire.refusal(**lie, envelope=edited) == "SealError E_UNSEAL"


def test_a_newer_amendment_that_the_agent_hides_is_not_found_out_here(hire: Hire) -> None:
    """What remains, and stands in the documents: an honest agent's journal refuses to go back."""
    payload = json.loads(json.dumps(hire.desk.group.amendments[0].body.policy))
    older = {"amendments": chain(hire)[:1], "policy": payload}
    request = hire.request_to(ExecutionAddress.parse(THIRD)).to_bytes().decode()
    assert len(hire.do(**older, request=request)) == 1


# What a token signs


@pytest.mark.case("X389", "amendment that does not follow, of another pool, with a wrong digest")
def test_a_token_signs_only_what_follows(amended: Pool, tmp_path: Path) -> None:
    holder = amended.holders[0]
    group = read_group(amended.group)
    proposal = tmp_path / "amendment.json"

    def told(
        body: bytes, *, checked: str, exit_status: int, pool_group: Path = amended.group
    ) -> str:
        proposal.unlink(missing_ok=True)
        proposal.write_bytes(body)
        done = amended.run(
            "policy", "sign", proposal, "--group", pool_group, *holder.token_options,
            "--yes-i-checked", checked, "--out", tmp_path / "signature.json",
            holder=holder, expect=exit_status,
        )  # fmt: skip
        assert not (tmp_path / "signature.json").exists()
        return next(
            line.split(":")[0] for line in done.stderr.splitlines() if line.startswith("E_")
        )

    good = propose(group, WIDE)
    digest = WIDE.digest.hex()[:12]
    wrong = ["0" * 12, digest[:11], digest.upper() + "0", ""]
    for checked in wrong:
        assert told(good.to_payload(), checked=checked, exit_status=3) == "E_CONFIRM"
    for body in (
        replace(good, number=2),
        replace(good, previous=bytes(32)),
        replace(good, epoch=2),
        replace(good, group=bytes(32)),
        replace(good, policy={"version": 2, "exits": "allowed"}),
    ):
        checked = body.policy_digest.hex()[:12]
        assert told(body.to_payload(), checked=checked, exit_status=1) == "E_POLICY"
    foreign = tmp_path / "foreign.json"
    foreign.write_bytes(STRANGERS.to_bytes())
    theirs = propose(GroupFile.parse(STRANGERS.to_bytes()), WIDE).to_payload()
    assert told(theirs, checked=digest, exit_status=1, pool_group=foreign) == "E_CARD"
    assert told(b"\x00" * 64, checked=digest, exit_status=1) == "E_SCHEMA"


@pytest.mark.case("R15", "amendment to sign: wrong digits, nothing, Ctrl-C; then the right ones")
def test_a_person_confirms_the_new_policy_at_his_terminal(amended: Pool, tmp_path: Path) -> None:
    holder = amended.holders[0]
    proposal, out = tmp_path / "amendment.json", tmp_path / "signature.json"
    proposal.write_bytes(propose(read_group(amended.group), WIDE).to_payload())
    order: list[str | Path] = ["policy", "sign", proposal, "--group", amended.group]
    order += [*holder.token_options, "--out", out]

    def typed(answer: str) -> tuple[int, str]:
        prompt = "as you heard them"
        seen = at_terminal(order, [(prompt, answer)], holder.token.environment)
        return seen.status, seen.screen

    right = fingerprint(WIDE.digest).replace(" ", "")[-6:]
    wrong = f"{int(right, 16) ^ 1:06x}"
    status, screen = typed(f"{wrong}\n")
    assert (status, out.exists()) == (3, False)
    assert "E_CONFIRM" in screen
    assert "No longer:" in screen
    assert "0x 5290 8400" in screen
    for nothing in ("y\n", "yes\n", "\n", "\x03", "\x04"):
        assert typed(nothing)[0] in (3, 130)
        assert not out.exists()
    assert typed(f" {right[:2].upper()} {right[2:]}\n")[0] == 0
    assert out.exists()


@pytest.mark.case("R15", "amendment to sign with nobody at a terminal")
def test_nobody_there_signs_nothing(amended: Pool, tmp_path: Path) -> None:
    holder = amended.holders[0]
    proposal = tmp_path / "amendment.json"
    proposal.write_bytes(propose(read_group(amended.group), WIDE).to_payload())
    out = tmp_path / "signature.json"
    done = amended.run("policy", "sign", proposal, "--group", amended.group,
                       *holder.token_options, "--out", out, holder=holder, expect=2)  # fmt: skip
    assert "E_USAGE" in done.stderr
    assert not out.exists()
