"""examples/ci as a user has it: a wheel in a fresh environment, and nothing else of ours."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from signer import __version__
from signer.testing.hostile.token import HostileToken
from signer.testing.running import RunningPool
from signer.testing.softhsm import SoftHSM

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ci"
VERSIONS = ("3.11", "3.12", "3.13")
SYSTEM_PACKAGES = {"softhsm2", "gcc", "libc6-dev"}


def python_of(version: str) -> str | None:
    """Return a Python of this version, if the machine has one."""
    candidates = [f"python{version}", sys.executable]
    candidates += map(str, Path.home().glob(f".pyenv/versions/{version}*/bin/python"))
    for candidate in candidates:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if shutil.which(candidate) is None:
            continue
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=kept | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", out,
        cwd=ROOT)  # fmt: skip
    return next(out.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.softhsm
@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", [v for v in VERSIONS if python_of(v) is not None])
def test_the_example_runs_in_a_fresh_environment(
    softhsm_here: None, wheel: Path, tmp_path: Path, version: str
) -> None:
    python = python_of(version)
    assert python is not None
    project, environment = tmp_path / "project", tmp_path / "venv"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    run(python, "-m", "venv", environment, cwd=tmp_path)
    (project / "wheels").mkdir()
    shutil.copy(wheel, project / "wheels")
    pip = ("pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check")
    run(environment / "bin/python", "-m", *pip, "-r", "requirements.txt", cwd=project)
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    told = run(environment / "bin/python", "-m", "pytest", "-q", cwd=project, PATH=path)
    assert "4 passed" in told
    assert (environment / "share/threshold-signer/agent.example.yaml").is_file()
    assert "compdef" in run(environment / "bin/signer", "completion", "zsh", cwd=project)


def texts(value: Any) -> list[str]:
    """Return every text in a YAML value."""
    if isinstance(value, dict):
        return [text for entry in value.values() for text in texts(entry)]
    if isinstance(value, list):
        return [text for entry in value for text in texts(entry)]
    return [str(value)]


@pytest.mark.parametrize("name", [".github/workflows/tests.yml", ".gitlab-ci.yml"])
def test_the_ci_files_install_what_the_fixtures_need(name: str) -> None:
    lines = texts(yaml.safe_load((EXAMPLE / name).read_text()))
    (install,) = [line for line in lines if "apt-get install" in line]
    words = install.partition("apt-get install")[2].split()
    assert {word for word in words if not word.startswith("-")} == SYSTEM_PACKAGES
    assert set(VERSIONS) <= set(lines)
    assert "python -m pip install --requirement requirements.txt" in lines
    assert lines[-1] == "python -m pytest"


def test_it_is_what_its_documentation_shows() -> None:
    page = (ROOT / "docs/testing-your-own.md").read_text()
    said = (EXAMPLE / "requirements.txt").read_text().replace("# threshold", "threshold")
    wanted = [line for line in said.splitlines() if not line.startswith("#")]
    assert wanted[0] == f"./wheels/threshold_signer-{__version__}-py3-none-any.whl[testing]"
    assert wanted[1].startswith("threshold-signer[testing] @ git+https://")
    for line in ("apt-get install softhsm2 gcc libc6-dev", *(f'"{line}"' for line in wanted)):
        assert line in page
    for text in (page, said):  # a bare name would be looked for on an index, where it is not ours
        assert not re.search(r"threshold-signer\[testing\](?! @ )", text)


def test_what_the_page_says_can_be_called_is_there() -> None:
    page = (ROOT / "docs/testing-your-own.md").read_text()
    said = {
        kind: set(re.findall(rf"(?<![\w.]){prefix}([a-z_]+)", page[page.index(f"## `{title}`") :]))
        for kind, title, prefix in (
            (HostileToken, "hostile_token", r"`(?:hostile_token\.)?(?=[a-z_]+\()"),
            (RunningPool, "signer_pool", r"`(?:await )?pool\."),
            (SoftHSM, "softhsm_tokens", r"`token\."),
        )
    }
    for kind, names in said.items():
        assert len(names) >= 5, (kind, names)
        there = set(dir(kind)) | {field.name for field in dataclasses.fields(kind)}
        assert names <= there, (kind, names - there)
