import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signer.agent.config import AgentConfig
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.errors import ConfigError, NetworkError, SignerError
from signer.hsm.profile import load_profile
from signer.messages.networks import parse_network_file

PROFILES = Path(__file__).parents[3] / "hsm_profiles"
SETTINGS: dict[str, Any] = {
    "version": 1,
    "socket": "run/agent.sock",
    "state": "state",
    "group": "/etc/group.json",
    "envelope": "e.json",
    "policy": "p.yaml",
    "token": {"profile": "softhsm2", "label": "desk"},
    "pin": {"file": "pin"},
    "peers": {"status": [1000, 1001], "sign": []},
}
NETWORK: dict[str, Any] = {
    "type": "signer-network",
    "version": 1,
    "name": "devnet-7",
    "genesis_fork_version": "0x10000038",
    "genesis_validators_root": "0x" + "07" * 32,
    "capella_fork_version": "0x40000038",
    "chain_id": 7042,
}
Load = Callable[..., AgentConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write agent.yaml with changes (JSON is YAML; ... removes a setting) and load it."""

    def load(**changes: Any) -> AgentConfig:
        settings = {k: v for k, v in (SETTINGS | changes).items() if v is not ...}
        (tmp_path / "agent.yaml").write_text(json.dumps(settings))
        return AgentConfig.load(tmp_path / "agent.yaml")

    return load


def test_paths_start_at_the_files_folder(load: Load, tmp_path: Path) -> None:
    config = load()
    assert config == AgentConfig(
        socket=tmp_path / "run/agent.sock",
        state=tmp_path / "state",
        group=Path("/etc/group.json"),
        envelope=tmp_path / "e.json",
        policy=tmp_path / "p.yaml",
        token=TokenChoice(profile=load_profile("softhsm2"), label="desk"),
        pin=SecretSource(file=str(tmp_path / "pin")),
        peers={
            "status": frozenset({1000, 1001}),
            "sign": frozenset(),
            "metrics": frozenset({1000, 1001}),
        },
        holders=frozenset({os.geteuid()}),
        network=None,
        threads=1,
    )


@pytest.mark.case("F17", "agent.yaml that anybody may change")
def test_a_file_that_anybody_may_change_is_refused(load: Load, tmp_path: Path) -> None:
    load()
    (tmp_path / "agent.yaml").chmod(0o666)
    with pytest.raises(ConfigError, match="anybody may change it"):
        AgentConfig.load(tmp_path / "agent.yaml")


def test_what_may_be_left_out_may_be_given(load: Load, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text((PROFILES / "softhsm2.yaml").read_text().replace("SoftHSM v2", "Mine"))
    token = {"profile": "./mine.yaml", "module": "lib.so", "serial": "00ff", "label": "desk"}
    config = load(token=token, threads=4)
    assert config.threads == 4
    assert config.token == TokenChoice(
        profile=load_profile(str(mine)), module=str(tmp_path / "lib.so"),
        serial="00ff", label="desk",
    )  # fmt: skip


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "deploy" / "agent.example.yaml"
    assert AgentConfig.load(example).socket == Path("/run/signer/h3/agent.sock")


@pytest.mark.case("F7", "agent.yaml with a setting unknown, missing, mistyped")
@pytest.mark.parametrize(
    "changes",
    [
        {"listen": "0.0.0.0:9000"},
        *({name: ...} for name in SETTINGS),
        {"version": 2},
        {"version": "1"},
        {"socket": 7},
        {"socket": ""},
        {"socket": "a\nb"},
        {"state": ["state"]},
        {"threads": 0},
        {"threads": 65},
        {"threads": True},
        {"token": "softhsm2"},
        {"token": {"profile": "softhsm2"}},
        {"token": {"label": "desk"}},
        {"token": {"profile": "softhsm2", "label": ""}},
        {"token": {"profile": "softhsm2", "label": "x" * 33}},
        {"token": {"profile": "softhsm2", "label": "desk", "slot": 0}},
        {"token": {"profile": "softhsm2", "label": "desk", "pin": "1234"}},
        {"token": {"profile": "softhsm2", "serial": 12}},
        {"pin": "1234"},
        {"pin": {"value": "1234"}},
        {"pin": {"file": "pin", "value": "1234"}},
        {"pin": {}},
        {"peers": [1000]},
        {"peers": {"status": [1000]}},
        {"peers": {"sign": [1000]}},
        {"peers": {"status": [], "sign": [], "approve": []}},
        {"peers": {"status": [], "sign": ["root"]}},
        {"peers": {"status": [], "sign": [-1]}},
        {"peers": {"status": [], "sign": [2**32 - 1]}},
        {"peers": {"status": [], "sign": [True]}},
        {"peers": {"status": [], "sign": 0}},
        {"network": {}},
        {"network": "devnet-7"},
        {"socket": "x" * 108},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(load: Load, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**changes)
    assert (refused.value.code, refused.value.exit_status) == ("E_CONFIG", 1)
    assert "1234" not in refused.value.line()


@pytest.mark.case("F6", "agent.yaml with a doubled setting, an anchor, a tag, no YAML")
@pytest.mark.parametrize(
    "extra", ["version: 1\n", "state: &a x\n", "state: !!python/name:os.system x\n", "\t:{\n", "\0"]
)
def test_yaml_tricks_are_refused(load: Load, tmp_path: Path, extra: str) -> None:
    load()
    path = tmp_path / "agent.yaml"
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in SETTINGS.items())
    path.write_text(text)
    AgentConfig.load(path)
    path.write_text(
        text.replace('state: "state"\n', "") + extra if "state" in extra else text + extra
    )
    with pytest.raises(ConfigError):
        AgentConfig.load(path)


@pytest.mark.case("K12", "socket path of 108 bytes")
def test_a_socket_path_fits_the_kernels_field(load: Load, tmp_path: Path) -> None:
    room = 107 - len(str(tmp_path)) - 1
    assert load(socket="s" * room).socket.name == "s" * room
    for name in ("s" * (room + 1), "é" * (room // 2 + 1)):
        with pytest.raises(ConfigError, match="over 107 bytes"):
            load(socket=name)


@pytest.mark.case("X217", "custom network: not pinned, another digest, file missing, borrowed name")
def test_a_custom_network_is_pinned_by_digest(load: Load, tmp_path: Path) -> None:
    raw = json.dumps(NETWORK).encode()
    path = tmp_path / "devnet.json"
    path.write_bytes(raw)
    digest = parse_network_file(raw).digest.hex()
    network = load(network={"file": "devnet.json", "digest": digest}).network
    assert network is not None
    assert network.name == "devnet-7"

    def refused(kind: type[SignerError] = ConfigError, **setting: Any) -> str:
        with pytest.raises(kind) as error:
            load(network=setting)
        return error.value.line()

    assert digest in refused(file="devnet.json", digest="00" * 32)
    refused(file="devnet.json")
    refused(digest=digest)
    refused(file="devnet.json", digest=digest[:-2])
    refused(file="devnet.json", digest=digest, name="devnet-7")
    refused(file="absent.json", digest=digest)
    path.write_text(json.dumps(NETWORK | {"chain_id": 1}))
    refused(file="devnet.json", digest=digest)
    path.write_text(json.dumps(NETWORK | {"name": "mainnet"}))
    refused(NetworkError, file="devnet.json", digest=digest)


@pytest.mark.case("F1", "agent.yaml missing, empty, a folder's, over 64 KiB")
def test_the_file_must_be_there(load: Load, tmp_path: Path) -> None:
    load()
    path = tmp_path / "agent.yaml"
    for content in (b"", b"#" * (64 * 1024 + 1), b"- a\n", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(SignerError) as refused:
            AgentConfig.load(path)
        assert refused.value.exit_status == 1
    path.unlink()
    with pytest.raises(SignerError):
        AgentConfig.load(path)
