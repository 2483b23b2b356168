import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.custody.jobs import Job, open_order, order_bytes
from signer.custody.jobs.amending import SignAmendment
from signer.custody.jobs.conformance import ProbeToken
from signer.custody.jobs.key_source import KeySource
from signer.custody.jobs.shares import SignBatch, VerifyShare
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.jobs.splitting import SplitKey
from signer.custody.jobs.tokens import ListTokens, MakeCard, SetUpToken
from signer.errors import InputError, SchemaError
from signer.hsm.profile import load_profile
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import Attestation
from signer.messages.networks import HOODI, MAINNET
from tests.simulators.holders import SimulatedPool
from tests.simulators.probed import REPORT as PROBED

POOL = SimulatedPool.new()
PROFILE = load_profile("softhsm2")
TOKEN = TokenChoice(profile=PROFILE, module="/m.so", label="desk", serial="00ff")
BY_URI = TokenChoice(profile=PROFILE, serial="", manufacturer="M", model="", slot_id=0)
FILE = SecretSource(file="/run/pin")
TTY = SecretSource(terminal=7)
SIGN = SignBatch(
    token=TOKEN,
    pin=FILE,
    network=MAINNET,
    role="withdrawal",
    group_public_key=bytes(POOL.group.public_key),
    epoch=1,
    index=1,
    public_share=bytes(48),
    first_policy_digest=POOL.group.policy_digest,
    threshold=3,
    holders=POOL.group.id_signs,
    certificate=bytes(32),
    amendments=({"payload": "one"},),
    policy=POOL.policy.to_json(),
    envelope="{}",
    request=POOL.request(1, 2).to_bytes().decode(),
    skip=frozenset({1}),
    journal="/state/journal.jsonl",
    threads=2,
)
SPLIT = SplitKey(
    key=KeySource(mnemonic=FILE, passphrase=TTY, key_index=3),
    threshold=3,
    cards=("a", "b"),
    network=HOODI,
    role="withdrawal",
    policy_digest=bytes(32),
)
JOBS: list[Job] = [
    ListTokens(token=TOKEN),
    ListTokens(token=TokenChoice(profile=PROFILE)),
    ListTokens(token=BY_URI),
    SetUpToken(token=TOKEN, pin=TTY),
    MakeCard(token=TOKEN, pin=FILE, name="Ada", created=5),
    MakeCard(
        token=TOKEN,
        pin=FILE,
        name="Ada",
        created=5,
        fresh_key=True,
        spare="{}",
        attestation=Attestation("yubihsm", (b"one", b"two")),
    ),
    MakeCard(token=TOKEN, pin=FILE, name="Ada", created=5, kex="0123456789abcdef"),
    VerifyShare(token=TOKEN, pin=FILE, group="{}", envelope="{}"),
    SPLIT,
    replace(SPLIT, key=KeySource(keystore="/k.json", password=FILE)),
    SIGN,
    SignAmendment(token=TOKEN, pin=FILE, group="{}", amendment="{}"),
    ProbeToken(
        token=TOKEN,
        pin=FILE,
        label="signer-probe-0123abcd",
        token_keys=True,
        seconds=20,
        steps=("hpke-p256", "threads"),
        outcomes=PROBED.seen[:3],
        channel=5,
    ),
]


KINDS = {
    kind.kind: kind
    for kind in (
        ListTokens,
        SetUpToken,
        MakeCard,
        SplitKey,
        VerifyShare,
        SignBatch,
        SignAmendment,
        ProbeToken,
    )
}


def parse_order(raw: bytes) -> Job:
    kind, fields = open_order(raw)
    if kind not in KINDS:
        raise SchemaError(f"no job is called {kind!r}")
    job: Job = KINDS[kind].parse(fields)
    return job


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_an_order_comes_out_as_it_went_in(job: Job) -> None:
    assert parse_order(order_bytes(job)) == job


def without(value: Any, path: tuple[Any, ...]) -> Any:
    value = json.loads(json.dumps(value))
    place = value
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> bytes:
    value = json.loads(json.dumps(value))
    place = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new
    return json.dumps(value).encode()


def paths(value: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every field of an order, but what is inside texts and the policy."""
    found: list[tuple[str, ...]] = []
    for name, field in value.items():
        found.append((name,))
        if isinstance(field, dict) and name != "policy":
            found += [(name, *rest) for rest in paths(field)]
    return found


@pytest.mark.case("F7", "order with any field missing, or with one more anywhere")
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_orders_have_exactly_their_fields(job: Job) -> None:
    value = json.loads(order_bytes(job))
    for path in paths(value):
        with pytest.raises(SchemaError):
            parse_order(json.dumps(without(value, path)).encode())
        place = value
        for step in path[:-1]:
            place = place[step]
        with pytest.raises(SchemaError):
            parse_order(put(value, (*path[:-1], "pin_value"), "1234"))


@pytest.mark.case("F8", "order with a field of another type or out of range")
@pytest.mark.parametrize(
    ("path", "bad"),
    [
        (("version",), 2),
        (("version",), True),
        (("job",), "sign"),
        (("job",), "list_tokens"),
        (("epoch",), 0),
        (("epoch",), True),
        (("index",), 0),
        (("index",), 101),
        (("role",), "owner"),
        (("group_public_key",), "00" * 47),
        (("public_share",), "AA" * 48),
        (("first_policy_digest",), "00" * 31),
        (("threshold",), 0),
        (("threshold",), 101),
        (("holders",), []),
        (("holders",), ["04" + "00" * 63]),
        (("holders",), ["04" + "00" * 64] * 101),
        (("amendments",), {}),
        (("amendments",), [{}] * 65),
        (("policy",), []),
        (("policy",), "{}"),
        (("envelope",), 7),
        (("request",), None),
        (("skip",), [-1]),
        (("skip",), [20_000]),
        (("skip",), [True]),
        (("skip",), "0"),
        (("threads",), 0),
        (("threads",), 65),
        (("network",), "mainnet"),
        (("network", "genesis_fork_version"), "0x10000910"),
        (("token",), None),
        (("token", "profile"), ""),
        (("token", "profile"), "a\nb"),
        (("token", "module"), "relative.so"),
        (("token", "module"), "/a\x00b"),
        (("token", "label"), ""),
        (("token", "label"), "x" * 33),
        (("token", "serial"), 5),
        (("token", "serial"), "x" * 33),
        (("token", "manufacturer"), 5),
        (("token", "manufacturer"), "x" * 33),
        (("token", "manufacturer"), "a\nb"),
        (("token", "model"), "x" * 17),
        (("token", "model"), ["x"]),
        (("token", "slot_id"), "0"),
        (("token", "slot_id"), -1),
        (("token", "slot_id"), True),
        (("token", "slot_id"), 2**53),
        (("pin",), "/run/pin"),
        (("pin",), {"file": None, "terminal": None}),
        (("pin",), {"file": "/run/pin", "terminal": 3}),
        (("pin",), {"file": None, "terminal": True}),
        (("pin",), {"file": None, "terminal": "3"}),
        (("pin", "file"), "pin"),
    ],
)
def test_malformed_orders_are_refused(path: tuple[str, ...], bad: Any) -> None:
    with pytest.raises(InputError):
        parse_order(put(json.loads(order_bytes(SIGN)), path, bad))


@pytest.mark.case("X928", "order for a token by its slot id and nothing else")
def test_a_slot_id_alone_names_no_token() -> None:
    value = json.loads(order_bytes(ListTokens(token=TokenChoice(profile=PROFILE, slot_id=3))))
    with pytest.raises(SchemaError, match="alone names no token"):
        parse_order(json.dumps(value).encode())
    value["token"]["model"] = "SoftHSM v2"
    parse_order(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        (("key_index",), -1),
        (("key_index",), 2**31),
        (("cards",), [7]),
        (("cards",), "a"),
        (("keystore",), "relative"),
        (("mnemonic",), "abandon abandon"),
        (("policy_digest",), "00"),
    ],
)
@pytest.mark.case("F8", "order to split with a field of another type or out of range")
def test_malformed_orders_to_split_are_refused(path: tuple[str, ...], bad: Any) -> None:
    with pytest.raises(SchemaError):
        parse_order(put(json.loads(order_bytes(SPLIT)), path, bad))


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        (("name",), "a\nb"),
        (("created",), -1),
        (("fresh_key",), 1),
        (("fresh_key",), None),
        (("kex",), ""),
        (("kex",), "0123 4567 89ab cdef"),
        (("kex",), "0123456789ABCDEF"),
        (("kex",), "0123456789abcdef\n"),
        (("kex",), 7),
        (("spare",), {}),
        (("spare",), "x" * (MAX_CARD_BYTES + 1)),
        (("attestation",), "none"),
        (("attestation",), {"kind": "yubihsm", "certificates": []}),
    ],
)
@pytest.mark.case("X613", "order for a card with a field of another type or out of range")
def test_malformed_orders_for_a_card_are_refused(path: tuple[str, ...], bad: Any) -> None:
    with pytest.raises(SchemaError):
        parse_order(put(json.loads(order_bytes(JOBS[4])), path, bad))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    with pytest.raises(SchemaError):
        parse_order(raw)


SOURCE_FIELDS = {
    "file", "credential", "descriptor", "terminal", "pipe", "pinentry", "pad", "display", "serial",
    "final_try",
}  # fmt: skip


def test_an_order_holds_no_secret() -> None:
    """Sources are paths and descriptors; there is no field that could carry a PIN or a key."""
    sources = {"pin", "mnemonic", "passphrase", "password"}
    for job in JOBS:
        for name, value in json.loads(order_bytes(job)).items():
            if name in sources and value is not None:
                assert set(value) == SOURCE_FIELDS
                texts = {k: v for k, v in value.items() if isinstance(v, str)}
                assert all(v.startswith("/") for k, v in texts.items() if k != "serial")
