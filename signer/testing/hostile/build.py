"""Build the hostile module with this machine's C compiler, once for each version of its source."""

import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
from pathlib import Path

from signer.errors import ModuleError
from signer.hsm.module_file import require_unchangeable

SOURCE = Path(__file__).with_name("module.c")
_FLAGS = ("-std=gnu11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")
_LIBRARIES = ("-ldl", "-pthread")
_SECONDS = 60


def built_module() -> Path:
    """Return the module in this user's cache, built now if it is not there.

    Raises:
        ModuleError: there is no C compiler, or it does not build the module.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    known = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, platform.machine())).encode())
    path = _cache() / f"hostile-{known.hexdigest()[:16]}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _build(compiler, path)
    require_unchangeable(path)
    return path


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "threshold-signer"


def _build(compiler: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # others may build it now as well
        built = Path(folder) / path.name
        command = [*compiler, *_FLAGS, "-o", str(built), str(SOURCE), *_LIBRARIES]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ModuleError(
                f"the hostile token's module needs a C compiler, and {compiler[0]!r} does not run "
                f"({type(error).__name__})",
                hint="apt-get install gcc libc6-dev, or name another one in CC",
            ) from None
        if done.returncode != 0:
            first = next(iter(done.stderr.splitlines()), "no reason given")
            raise ModuleError(
                f"the hostile token's module does not build: {ascii(first)[1:200]}",
                hint="apt-get install gcc libc6-dev",
            )
        built.chmod(0o755)
        built.replace(path)
