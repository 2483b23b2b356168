from collections.abc import Callable
from typing import Any

import pytest

from signer.errors import NetworkError, SchemaError
from signer.messages.networks import (
    BUILT_IN,
    HOODI,
    MAINNET,
    Network,
    find_network,
    parse_network_file,
)
from signer.strict import canonical

DEVNET: dict[str, Any] = {
    "type": "signer-network",
    "version": 1,
    "name": "devnet-7",
    "genesis_fork_version": "0x10000038",
    "genesis_validators_root": "0x" + "5a" * 32,
    "capella_fork_version": "0x40000038",
    "chain_id": 7042,
}


def file_with(**changes: Any) -> bytes:
    value = {name: field for name, field in (DEVNET | changes).items() if field is not ...}
    return canonical(value)


def test_built_in_constants_are_those_that_others_publish(vectors: Callable[[str], Any]) -> None:
    published = {entry["name"]: entry for entry in vectors("networks.json")}
    assert set(BUILT_IN) == {"mainnet", "sepolia", "holesky", "hoodi", "gnosis", "chiado"}
    for name, network in BUILT_IN.items():
        entry = published[name]
        assert "0x" + network.genesis_fork_version.hex() == entry["genesis_fork_version"]
        assert "0x" + network.capella_fork_version.hex() == entry["capella_fork_version"]
        assert "0x" + network.genesis_validators_root.hex() == entry["genesis_validators_root"]
        assert network.chain_id == entry["deposit_chain_id"]


def test_custom_network_comes_out_as_it_went_in() -> None:
    network = parse_network_file(file_with())
    assert network.name == "devnet-7"
    assert network.genesis_fork_version == bytes.fromhex("10000038")
    assert not network.built_in
    assert find_network("devnet-7", network) is network
    assert {**network.to_json(), "type": "signer-network", "version": 1} == DEVNET


def test_digest_covers_every_constant() -> None:
    digest = parse_network_file(file_with()).digest
    for name, other in {
        "name": "devnet-8",
        "genesis_fork_version": "0x10000039",
        "genesis_validators_root": "0x" + "5b" * 32,
        "capella_fork_version": "0x40000039",
        "chain_id": 7043,
    }.items():
        assert parse_network_file(file_with(**{name: other})).digest != digest


@pytest.mark.case("P7", "network file called mainnet with other constants")
def test_a_built_in_name_is_not_for_custom_networks() -> None:
    with pytest.raises(NetworkError, match="built-in"):
        parse_network_file(file_with(name="mainnet"))


@pytest.mark.case("P7", "custom network with a built-in's genesis validators root")
@pytest.mark.parametrize("known", [MAINNET, HOODI])
@pytest.mark.parametrize("version", ["0x00000000", "0x10000910", "0x12345678"])
def test_a_built_in_root_is_not_for_custom_networks(known: Any, version: str) -> None:
    raw = file_with(
        genesis_fork_version=version,
        genesis_validators_root="0x" + known.genesis_validators_root.hex(),
    )
    with pytest.raises(NetworkError, match=f"root of {known.name}"):
        parse_network_file(raw)


@pytest.mark.case("P7", "network file with an all-zero genesis validators root")
def test_a_root_of_zeros_is_no_chain() -> None:
    with pytest.raises(NetworkError, match="zeros"):
        parse_network_file(file_with(genesis_validators_root="0x" + "00" * 32))


def test_a_built_in_network_needs_no_file() -> None:
    raw = canonical({"type": "signer-network", "version": 1, **MAINNET.to_json()})
    with pytest.raises(NetworkError, match="needs no file"):
        parse_network_file(raw)


@pytest.mark.case("X1", "unknown network name")
def test_unknown_network_is_named_with_what_to_do() -> None:
    with pytest.raises(NetworkError, match="unknown network 'görli'") as caught:
        find_network("görli")
    assert "--network-file" in caught.value.hint
    with pytest.raises(NetworkError, match="devnet-7"):
        find_network("mainnet", parse_network_file(file_with()))


@pytest.mark.case("P13", "network file of an unknown version")
@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"type": "signer-group"},
        {"name": "Devnet"},
        {"name": ...},
        {"extra": 1},
        {"genesis_fork_version": "10000038"},
        {"genesis_fork_version": "0x1000003G"},
        {"genesis_validators_root": "0x" + "5A" * 32},
        {"genesis_validators_root": "0x5a"},
        {"chain_id": 0},
        {"chain_id": "7042"},
    ],
)
def test_malformed_network_files_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        parse_network_file(file_with(**changes))


def test_ephemery_is_not_built_in_and_the_hint_says_why() -> None:
    with pytest.raises(NetworkError) as caught:
        find_network("ephemery")
    assert "--network-file" in caught.value.hint
    assert "each reset" in caught.value.hint
    with pytest.raises(NetworkError) as other:
        find_network("olympic")
    assert "reset" not in other.value.hint


@pytest.mark.case("P7", "network file with the root of any built-in network under another name")
@pytest.mark.parametrize("known", BUILT_IN.values(), ids=lambda network: network.name)
def test_no_built_in_chain_has_a_second_name(known: Network) -> None:
    with pytest.raises(NetworkError, match=f"root of {known.name}"):
        parse_network_file(
            file_with(genesis_validators_root="0x" + known.genesis_validators_root.hex())
        )


@pytest.mark.parametrize(
    ("network", "digest"),
    [
        (MAINNET, "0876bed44f65297ae889a5f9a0dd5ad788d7182246a715c3e04e61a21908860f"),
        (HOODI, "966f23377187e29e98243d6ee0b0b07f15f0418fa518804e92f8f2a298d75e71"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_digests_of_networks_stay_what_agents_have_pinned(network: Network, digest: str) -> None:
    assert network.digest.hex() == digest
