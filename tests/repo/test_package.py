"""The wheel holds what the program needs when it is not run from a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_holds_profiles_and_the_socket_description(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "signer/hsm/profiles/softhsm2.yaml" in names
    assert "signer/hsm/rules/70-signer-hsm.rules" in names
    assert "signer/agent/openapi.yaml" in names
    assert "signer/py.typed" in names
    assert not any(name.startswith(("tests", "demo")) for name in names)


def test_the_wheel_finds_its_rules(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import signer.hsm.udev as udev; "
        "assert udev.__file__.startswith(sys.path[0]), udev.__file__; "
        "from signer.cli.main import main; sys.argv[0] = 'signer'; main()"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, tmp_path / "site", "token", "udev"],
        check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == (ROOT / "udev/70-signer-hsm.rules").read_bytes()


def test_the_example_files_are_what_the_program_reads() -> None:
    from signer.agent.config import AgentConfig
    from signer.custody.desk import read_policy

    config = AgentConfig.load(ROOT / "deploy/agent.example.yaml")
    assert config.socket == Path("/run/signer/h3/agent.sock")
    assert len(read_policy(ROOT / "deploy/policy.example.yaml").labels) == 1


def test_the_agent_loads_neither_pkcs11_nor_a_secret() -> None:
    code = (
        "import sys, signer.agent.daemon, signer.custody.custodian; "
        "print(sorted({'pkcs11', 'signer.hsm.module', 'signer.hsm.session', 'signer.hsm.keys', "
        "'signer.threshold.share', 'signer.bls.scalar', 'ckzg'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
