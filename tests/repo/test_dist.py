"""What is shipped: the same bytes from the same files, with all that the program needs."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EPOCH = "1790000000"
IN_WHEEL = [
    "signer/hsm/profiles/softhsm2.yaml",
    "signer/hsm/profiles/profile.schema.json",
    "signer/hsm/rules/70-signer-hsm.rules",
    "signer/agent/openapi.yaml",
    "signer/cli/completion.py",
    "signer/testing/plugin.py",
    "signer/testing/hostile/module.c",
    "signer/py.typed",
]


def copy_of_tree(folder: Path, mode: int) -> Path:
    """Copy what is in the repository, as another machine would have it: times and modes differ."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
            target.chmod(mode)
            os.utime(target, (mode * 10**6, mode * 10**6))
    return folder


def build(tree: Path, out: Path, **environment: str) -> dict[str, bytes]:
    """Build wheel and sdist of `tree` and return them by name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", out],
        cwd=tree, check=True, capture_output=True, timeout=100,
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH} | environment,
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return wheel and sdist, built from a copy."""
    folder = tmp_path_factory.mktemp("one")
    return build(copy_of_tree(folder / "tree", 0o644), folder / "dist", TZ="UTC")


def test_two_builds_are_the_same_bytes(built: dict[str, bytes], tmp_path: Path) -> None:
    tree = copy_of_tree(tmp_path / "another-place" / "tree", 0o600)
    again = build(tree, tmp_path / "dist", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    assert sorted(again) == sorted(built)
    assert all(again[name] == built[name] for name in built)


def test_the_wheel_of_the_sdist_is_the_wheel(built: dict[str, bytes], tmp_path: Path) -> None:
    (sdist,) = [name for name in built if name.endswith(".tar.gz")]
    (wheel,) = [name for name in built if name.endswith(".whl")]
    (tmp_path / sdist).write_bytes(built[sdist])
    with tarfile.open(tmp_path / sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # since 3.11.4
            archive.extractall(tmp_path / "unpacked", filter="data")
        else:
            archive.extractall(tmp_path / "unpacked")
    again = build(tmp_path / "unpacked" / sdist.removesuffix(".tar.gz"), tmp_path / "dist")
    assert again[wheel] == built[wheel]


def test_everything_is_inside(built: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in built.items():
        (tmp_path / name).write_bytes(content)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(IN_WHEEL) <= names
    for place, folder in (
        ("signer/hsm/profiles", "hsm_profiles"),
        ("signer/hsm/rules", "udev"),
        ("share", "deploy"),
    ):
        files = {path.name for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert files
        assert files <= {Path(name).name for name in names if place in name}
    assert not [name for name in names if name.endswith((".pyc", ".so")) or "__pycache__" in name]
    entry_points = zipfile.ZipFile(wheel).read(
        next(name for name in names if name.endswith("entry_points.txt"))
    )
    assert b"[pytest11]\nthreshold-signer = signer.testing.plugin" in entry_points
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "examples/ci/test_my_pool.py", "LICENSE"} <= packed
    assert not [name for name in packed if "__pycache__" in name or name.startswith(".venv")]
