"""The main job through the command line alone: real tokens, agents and sockets, no terminal."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_typing import BLSPubkey, BLSSignature
from py_ecc.bls.ciphersuites import G2ProofOfPossession

from demo.verification import verify_file
from signer.bls.encoding import PublicKey
from signer.custody.desk import read_policy
from signer.messages.address import ExecutionAddress
from signer.messages.networks import parse_network_file
from signer.messages.signing_root import BLSToExecutionChange, signing_root
from signer.strict import canonical
from signer.testing.pool import TEST_ADDRESS, Pool, summary

pytestmark = pytest.mark.softhsm

Vectors = Callable[[str], Any]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Three of five, agents running."""
    folder = tmp_path_factory.mktemp("pool")
    with Pool.with_tokens(folder / "p", ("Ada", "Boris", "Chidi", "Dolores", "Emeka")) as pool:
        pool.write_policy()
        pool.split(3)
        pool.start()
        yield pool


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("bls_to_execution_change-*.json")
    return path


def test_the_file_is_the_deposit_clis(pool: Pool, tmp_path: Path, vectors: Vectors) -> None:
    """Same mnemonic, same validator, same address: the same bytes, signed by three of five."""
    done = summary(pool.sign(pool.request([1234567], name="one.json"), tmp_path))
    assert done["signed"] == 1
    assert done["signers"] == [1, 2, 3]
    assert done["culprits"] == done["failed"] == done["unsigned"] == []
    ours = json.loads(only_file(tmp_path).read_text())
    theirs = vectors("deposit-cli/ethstaker-1.2.2/mainnet/bls_to_execution_change.json")[:1]
    theirs[0]["metadata"]["deposit_cli_version"] = ours[0]["metadata"]["deposit_cli_version"]
    assert only_file(tmp_path).read_text() == json.dumps(theirs)
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o400


def test_any_three_of_five_make_the_same_file(pool: Pool, tmp_path: Path) -> None:
    request = pool.request([21, 22], name="subsets.json")
    files = set()
    for chosen in ((0, 1, 2), (2, 3, 4), (0, 2, 4)):
        out = tmp_path / "".join(map(str, chosen))
        agents = [pool.holders[position].socket for position in chosen]
        assert summary(pool.sign(request, out, agents=agents))["signed"] == 2
        files.add(only_file(out).read_bytes())
    assert len(files) == 1


def test_without_metadata(pool: Pool, tmp_path: Path) -> None:
    pool.sign(pool.request([23], name="bare.json"), tmp_path, "--no-metadata")
    (entry,) = json.loads(only_file(tmp_path).read_text())
    assert set(entry) == {"message", "signature"}


def test_two_agents_are_too_few(pool: Pool, tmp_path: Path) -> None:
    request = pool.request([24], name="few.json")
    agents = [holder.socket for holder in pool.holders[:2]]
    done = pool.sign(request, tmp_path / "out", agents=agents, expect=4)
    assert summary(done)["error"]["code"] == "E_TOO_FEW"
    assert summary(done)["unsigned"][0]["partials"] == 2
    assert list((tmp_path / "out").glob("*.json")) == []
    nobody = pool.sign(request, tmp_path / "out", agents=[tmp_path / "none.sock"], expect=4)
    assert [failure["code"] for failure in summary(nobody)["failed"]] == ["E_UNREACHABLE"]
    assert "no reply: E_UNREACHABLE" in nobody.stderr


def test_a_signing_is_resumed(pool: Pool, tmp_path: Path) -> None:
    request = pool.request([25, 26], name="resumed.json")
    work = tmp_path / "work"
    agents = [holder.socket for holder in pool.holders]
    pool.sign(request, tmp_path / "a", "--work", work, agents=agents[:2], expect=4)
    assert len(list(work.glob("reply-*.json"))) == 2
    done = summary(pool.sign(request, tmp_path / "a", "--work", work, agents=agents[4:]))
    assert done["signers"] == [1, 2, 5]
    again = summary(pool.sign(request, tmp_path / "b", "--work", work, agents=[]))
    assert again["signed"] == 2
    assert only_file(tmp_path / "a").read_bytes() == only_file(tmp_path / "b").read_bytes()
    other = pool.request([27], name="other.json")
    wrong = pool.sign(other, tmp_path / "c", "--work", work, expect=1)
    assert "another request" in wrong.stderr


@pytest.mark.case("R7", "address that the policy does not allow")
def test_an_address_outside_the_policy_is_denied(pool: Pool, tmp_path: Path) -> None:
    other = "0x52908400098527886E0F7030069857D2E4169EE7"
    request = pool.request([28], to=other, name="outside.json")
    done = pool.sign(request, tmp_path / "out", expect=3)
    assert summary(done)["error"]["code"] == "E_TARGET"
    assert not list((tmp_path / "out").glob("*.json"))
    for holder in pool.holders:
        assert b'"validator_indices":[28]' not in holder.journal.read_bytes()


@pytest.mark.case("X10", "culprit on the command line: his code, his index, exit 0")
def test_a_liar_is_named_and_the_result_is_written(pool: Pool, tmp_path: Path) -> None:
    from demo.__main__ import liar_socket, lie_for

    liar = lie_for(pool.holders[0])
    try:
        agents = [liar_socket(pool.holders[0]), *(holder.socket for holder in pool.holders[1:])]
        done = pool.sign(pool.request([29, 30], name="liar.json"), tmp_path / "a", agents=agents)
        assert [(c["index"], c["code"]) for c in summary(done)["culprits"]] == [(1, "E_WITNESS")]
        assert verify_file(only_file(tmp_path / "a")) == 2
        request = pool.request([31], name="liar2.json")
        done = pool.sign(request, tmp_path / "b", agents=agents[:3], expect=5)
        assert summary(done)["error"]["code"] == "E_BAD_PARTIALS"
        assert [(c["index"], c["code"]) for c in summary(done)["culprits"]] == [(1, "E_WITNESS")]
        assert not list((tmp_path / "b").glob("*.json"))
    finally:
        liar.terminate()
        liar.wait()


def test_ethdos_preparation_chooses_the_groups_validators(pool: Pool, tmp_path: Path) -> None:
    group = summary(pool.run("group", "show", pool.group, "--json"))
    mine, others = group["withdrawal_credentials"], "0x00" + "11" * 31
    preparation = {
        "version": "3",
        "validators": [
            {"index": str(i), "pubkey": "0x" + "aa" * 48, "state": "active_ongoing",
             "withdrawal_credentials": mine if i % 3 == 0 else others}
            for i in range(300, 310)
        ],
        "genesis_validators_root": group["network"]["genesis_validators_root"],
        "epoch": "1",
        "genesis_fork_version": "0x00000000",
        "exit_fork_version": "0x03000000",
        "current_fork_version": "0x05000000",
        "bls_to_execution_change_domain_type": "0x0a000000",
        "voluntary_exit_domain_type": "0x04000000",
    }  # fmt: skip
    file = tmp_path / "offline-preparation.json"
    file.write_text(json.dumps(preparation))
    arguments = ("request", "new", "--group", pool.group, "--to", TEST_ADDRESS, "--validators")
    pool.run(*arguments, file, "--out", tmp_path / "r.json")
    shown = summary(pool.run("request", "show", tmp_path / "r.json", "--json"))
    assert shown["changes"][0]["validator_indices"] == [300, 303, 306, 309]
    for changes, words in (
        ({"genesis_validators_root": "0x" + "00" * 32}, "genesis_validators_root"),
        ({"genesis_fork_version": "0x00000001"}, "genesis_fork_version"),
        ({"version": "2"}, "version"),
        ({"validators": []}, "none of its 0"),
    ):
        file.write_text(json.dumps(preparation | changes))
        done = pool.run(*arguments, file, "--out", tmp_path / "x.json", expect=1)
        assert words in done.stderr
        assert not (tmp_path / "x.json").exists()


def test_requests_are_shown_in_words(pool: Pool) -> None:
    request = pool.request([40, 41, 42, 50], name="words.json")
    text = pool.run("request", "show", request, "--policy", pool.policy).stdout
    assert "0x 8c1F f978 036F 2e9d 7CC3 82Ef f7B4 c8c5 3C22 ac15" in text
    assert "treasury 1" in text
    assert "40-42 50" in text
    assert "mainnet" in text
    assert "cannot be undone" in text


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "devnet.json"
    path.write_bytes(
        canonical(
            {
                "type": "signer-network",
                "version": 1,
                "name": "devnet-7",
                "genesis_fork_version": "0x10000038",
                "genesis_validators_root": "0x" + "5a" * 32,
                "capella_fork_version": "0x40000038",
                "chain_id": 7042,
            }
        )
    )
    return path


def test_a_keystore_on_a_custom_network(tmp_path: Path, devnet: Path, vectors: Vectors) -> None:
    """2 of 2, from an EIP-2335 keystore, on a network that a file describes and the agents pin."""
    published = vectors("eip/eip-2335-keystores.json")
    keystore = published["keystores"][1]
    keystore["path"] = "m/12381/3600/0/0"
    file, password = tmp_path / "keystore.json", tmp_path / "password"
    file.write_text(json.dumps(keystore))
    password.touch(mode=0o600)
    password.write_text(published["password_text"] + "\n")
    with Pool.with_tokens(tmp_path / "p", ("Ada", "Boris")) as pool:
        pool.write_policy()
        source = ("--keystore", file, "--password-file", password)
        pool.split(2, network=("--network-file", str(devnet)), source=source)
        digest = parse_network_file(devnet.read_bytes()).digest.hex()
        with pytest.raises(AssertionError, match="not pinned"):
            pool.start_agent(pool.holders[0])
        for holder in pool.holders:
            pool.start_agent(holder, network=f'{{file: "{devnet}", digest: "{digest}"}}')
        done = summary(pool.sign(pool.request([5, 6]), tmp_path / "out"))
        assert done["signed"] == 2
        for entry in json.loads(only_file(tmp_path / "out").read_text()):
            assert entry["message"]["from_bls_pubkey"] == "0x" + keystore["pubkey"]
            assert entry["metadata"]["network_name"] == "devnet-7"
            change = BLSToExecutionChange(
                int(entry["message"]["validator_index"]),
                PublicKey(bytes.fromhex(keystore["pubkey"])),
                ExecutionAddress.parse(TEST_ADDRESS),
            )
            root = signing_root(change, parse_network_file(devnet.read_bytes()))
            assert G2ProofOfPossession.Verify(
                BLSPubkey(bytes.fromhex(keystore["pubkey"])),
                root,
                BLSSignature(bytes.fromhex(entry["signature"][2:])),
            )


@pytest.mark.case("R1", "state folder lost, or another one configured for the same share")
def test_a_share_has_one_journal(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[4]
    pool.stop_agent(holder)
    with pytest.raises(AssertionError, match="this share's journal is"):
        pool.start_agent(holder, state="elsewhere")
    holder.journal.rename(holder.journal.with_name("lost"))
    with pytest.raises(AssertionError, match="is gone"):
        pool.start_agent(holder)
    holder.journal.touch(mode=0o600)
    with pytest.raises(AssertionError, match="is gone"):
        pool.start_agent(holder)
    holder.journal.with_name("lost").rename(holder.journal)
    pool.start_agent(holder)


def test_a_request_is_shown_without_a_policy(pool: Pool) -> None:
    request = pool.request([70], name="plain.json")
    assert "policy" not in pool.run("request", "show", request).stdout.lower()
    other = pool.request([71], to="0x52908400098527886E0F7030069857D2E4169EE7", name="other2.json")
    shown = pool.run("request", "show", other, "--policy", pool.policy)
    assert "NOT IN THE POLICY" in shown.stdout
    value = summary(pool.run("request", "show", other, "--policy", pool.policy, "--json"))
    assert list(value["allowed"].values()) == [False]


def test_the_first_words_a_person_types_are_answered_with_help(pool: Pool) -> None:
    for words in ((), ("token",), ("request",)):
        done = pool.run(*words, expect=2)
        assert done.stderr.startswith("Usage: signer")
        assert "\\n" not in done.stderr
    shown = pool.run("--help").stdout
    assert "\b" not in shown
    assert "  signer group split     the dealer: split the key among the cards\n" in shown


def test_nothing_is_overwritten(pool: Pool, tmp_path: Path) -> None:
    request = pool.request([60], name="kept.json")
    before = request.read_bytes()
    listed = pool.folder / "kept.json.validators"
    done = pool.run("request", "new", "--group", pool.group, "--to", TEST_ADDRESS, "--validators",
                    listed, "--out", request, expect=1)  # fmt: skip
    assert "E_OUTPUT" in done.stderr
    assert request.read_bytes() == before
    cards = [part for holder in pool.holders for part in ("--card", holder.card)]
    done = pool.run("group", "split", *cards, "--threshold", "3", "--policy", pool.policy,
                    "--network", "mainnet", "--mnemonic-file", pool.folder / "mnemonic",
                    "--out", pool.group.parent, expect=1)  # fmt: skip
    assert "E_OUTPUT" in done.stderr


def test_set_up_twice_changes_nothing(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[0]
    again = pool.run("token", "setup", *holder.token_options, "--json", holder=holder)
    assert summary(again) == {"made": [], "present": ["id-sign", "epoch-kex"], "proven": True}
    card = tmp_path / "again.json"
    pool.run("token", "card", *holder.token_options, "--name", "Ada", "--out", card, holder=holder)
    old, new = (json.loads(path.read_text()) for path in (holder.card, card))
    assert old["signatures"][0]["keyid"] == new["signatures"][0]["keyid"]


def test_tokens_are_listed(pool: Pool) -> None:
    holder = pool.holders[0]
    rows = summary(pool.run("token", "list", "--json", holder=holder))["tokens"]
    mine = [row for row in rows if row["label"] == "holder-1"]
    assert len(mine) == 1
    assert mine[0]["profile"] == "softhsm2"
    assert mine[0]["initialized"] is True
    table = pool.run("token", "list", holder=holder).stdout
    assert table.splitlines()[0].split() == [
        "LABEL", "SERIAL", "MANUFACTURER", "MODEL", "STATE", "PIN", "PROFILE", "URI",
    ]  # fmt: skip


def test_the_policys_comments_and_order_do_not_matter(pool: Pool, tmp_path: Path) -> None:
    copy = tmp_path / "policy.yaml"
    copy.write_text("# ours\n" + pool.policy.read_text().replace('"', ""))
    assert read_policy(copy).digest == read_policy(pool.policy).digest
