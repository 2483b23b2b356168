"""Which chain a signature is for.

The constants of a network decide the domain of a signature; a wrong fork version is the classic bug
of this field. So they are pinned here, each with its source, or come from a file that may describe
only a chain that is not built in, and that an agent pins by digest.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Self

from signer.errors import NetworkError
from signer.strict import Fields, canonical, parse_object

MAX_FILE_BYTES = 16 * 1024
MAX_CHAIN_ID = 2**53 - 1

_NAME = r"[a-z0-9][a-z0-9-]{0,31}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The constants of one chain. Built in, or parsed, where borrowed identities stop."""

    name: str
    genesis_fork_version: bytes  # 4 bytes; the domain of BLSToExecutionChange and deposits
    genesis_validators_root: bytes  # 32 bytes
    capella_fork_version: bytes  # 4 bytes; the domain of voluntary exits (EIP-7044)
    chain_id: int  # of the execution layer

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this network, as it stands in files of ours."""
        return {
            "name": self.name,
            "genesis_fork_version": "0x" + self.genesis_fork_version.hex(),
            "genesis_validators_root": "0x" + self.genesis_validators_root.hex(),
            "capella_fork_version": "0x" + self.capella_fork_version.hex(),
            "chain_id": self.chain_id,
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 over the canonical JSON of all constants, name included."""
        return hashlib.sha256(canonical(self.to_json())).digest()

    @property
    def built_in(self) -> bool:
        """Whether these are constants of ours and not of a file."""
        return BUILT_IN.get(self.name) == self

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Take a network's constants from `fields`.

        Raises:
            SchemaError: a field missing, unknown or malformed.
            NetworkError: the constants borrow the name or the chain of a built-in network.
        """
        network = cls(
            name=fields.string("name", pattern=_NAME),
            genesis_fork_version=_hex(fields, "genesis_fork_version", 4),
            genesis_validators_root=_hex(fields, "genesis_validators_root", 32),
            capella_fork_version=_hex(fields, "capella_fork_version", 4),
            chain_id=fields.integer("chain_id", low=1, high=MAX_CHAIN_ID),
        )
        fields.done()
        _refuse_borrowed(network, fields.what)
        return network


def _built_in(name: str, genesis: str, root: str, capella: str, chain_id: int) -> Network:
    return Network(
        name=name,
        genesis_fork_version=bytes.fromhex(genesis),
        genesis_validators_root=bytes.fromhex(root),
        capella_fork_version=bytes.fromhex(capella),
        chain_id=chain_id,
    )


# Versions and chain ids are from metadata/config.yaml of eth-clients/{mainnet,sepolia,holesky,
# hoodi} and {mainnet,chiado}/config.yaml of gnosischain/configs. The roots are from README.md
# (mainnet, sepolia, holesky), metadata/genesis_validators_root.txt (hoodi) and bytes 8..40 of
# genesis.ssz (gnosis, chiado). settings.py of ethstaker-deposit-cli 1.2.2 has the same values.
MAINNET = _built_in(
    "mainnet",
    "00000000",
    "4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95",
    "03000000",
    1,
)
SEPOLIA = _built_in(
    "sepolia",
    "90000069",
    "d8ea171f3c94aea21ebc42a1ed61052acf3f9209c00e4efbaaddac09ed9b8078",
    "90000072",
    11155111,
)
HOLESKY = _built_in(
    "holesky",
    "01017000",
    "9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1",
    "04017000",
    17000,
)
HOODI = _built_in(
    "hoodi",
    "10000910",
    "212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f",
    "40000910",
    560048,
)
GNOSIS = _built_in(
    "gnosis",
    "00000064",
    "f5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47",
    "03000064",
    100,
)
CHIADO = _built_in(
    "chiado",
    "0000006f",
    "9d642dac73058fbf39c0ae41ab1e34e4d889043cb199851ded7095bc99eb4c1e",
    "0300006f",
    10200,
)
BUILT_IN = {network.name: network for network in (MAINNET, SEPOLIA, HOLESKY, HOODI, GNOSIS, CHIADO)}
_WORDS = {
    "mainnet": "Ethereum, real ether",
    "gnosis": "Gnosis Chain, real GNO",
    "sepolia": "a test network of Ethereum",
    "holesky": "a test network of Ethereum",
    "hoodi": "a test network of Ethereum",
    "chiado": "a test network of Gnosis Chain",
}


def network_words(name: str) -> str:
    """Return what the network called `name` is, for people."""
    return _WORDS.get(name, "a custom network, not built in")


def parse_network_file(raw: bytes, what: str = "network file") -> Network:
    """Parse a custom network: `{"type": "signer-network", "version": 1, name, …}`.

    Raises:
        SchemaError: not this format.
        NetworkError: it borrows a built-in network's name or chain.
    """
    fields = Fields(parse_object(raw, what=what, max_bytes=MAX_FILE_BYTES), what)
    fields.constant("type", "signer-network")
    fields.constant("version", 1)
    network = Network.parse(fields)
    if network.built_in:
        raise NetworkError(
            f"{what}: {network.name!r} is built in and needs no file",
            hint=f"use --network {network.name} alone",
        )
    return network


def find_network(name: str, custom: Network | None = None) -> Network:
    """Return the built-in network `name`, or `custom` if that is its name.

    Raises:
        NetworkError: neither of them.
    """
    if custom is not None:
        if custom.name != name:
            raise NetworkError(f"the network file describes {custom.name!r}, not {name!r}")
        return custom
    try:
        return BUILT_IN[name]
    except KeyError:
        known = ", ".join(sorted(BUILT_IN))
        raise NetworkError(
            f"unknown network {name[:40]!r}",
            hint=f"built in: {known}; any other needs --network-file FILE{_changing(name)}",
        ) from None


def _changing(name: str) -> str:
    """Say why ephemery is not built in: it begins anew every 28 days, with other constants."""
    return " (ephemery's constants change at each reset: ask a node)" if name == "ephemery" else ""


def _hex(fields: Fields, name: str, size: int) -> bytes:
    text = fields.string(name, pattern=f"0x[0-9a-f]{{{2 * size}}}")
    return bytes.fromhex(text[2:])


def _refuse_borrowed(network: Network, what: str) -> None:
    """A chain has one name here and a name one chain: else journals and people are fooled."""
    if network.built_in:
        return
    if not any(network.genesis_validators_root):
        raise NetworkError(f"{what}: the genesis validators root is all zeros, no chain's")
    if network.name in BUILT_IN:
        raise NetworkError(
            f"{what}: {network.name!r} is a built-in network and these are not its constants",
            hint="give the custom network a name of its own",
        )
    for known in BUILT_IN.values():
        if network.genesis_validators_root == known.genesis_validators_root:
            raise NetworkError(
                f"{what}: {network.name!r} carries the genesis validators root of {known.name}",
                hint=f"a signature for it would be valid on {known.name}; correct the file",
            )
