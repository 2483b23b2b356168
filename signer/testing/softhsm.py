"""A SoftHSM token in a folder of its own: no root, no daemon, nothing shared."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from signer.errors import ModuleError
from signer.hsm.profile import load_profile

SO_PIN = "87654321"
USER_PIN = "demo-1234"


@dataclass(frozen=True, slots=True)
class SoftHSM:
    """One token folder with one initialised token."""

    folder: Path
    label: str

    @property
    def config(self) -> Path:
        """The configuration file that SOFTHSM2_CONF must name."""
        return self.folder / "softhsm2.conf"

    @property
    def tokens(self) -> Path:
        """The folder of the token's own files."""
        return self.folder / "tokens"

    @property
    def module(self) -> Path:
        """A copy of SoftHSM's module for this token alone; made when it is first asked for.

        In one process one path is one instance, with the configuration it was initialised with. So
        tokens with copies of their own can be used side by side.
        """
        path = self.folder / "module.so"
        if not path.exists():
            shutil.copyfile(module_path(), path)
            path.chmod(0o755)
        return path

    @property
    def pin_file(self) -> Path:
        """A 0600 file with the user PIN."""
        return self.folder / "pin"

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with SoftHSM pointed at this token."""
        return {**os.environ, "SOFTHSM2_CONF": str(self.config)}

    @classmethod
    def create(cls, folder: Path, label: str, *, pin: str = USER_PIN) -> "SoftHSM":
        """Make `folder` with one initialised token and its PIN file.

        Raises:
            ModuleError: SoftHSM is not installed.
        """
        module_path()
        token = cls(folder, label)
        token.lay(pin)
        token.initialise(label, pin=pin)
        return token

    def lay(self, pin: str = USER_PIN) -> None:
        """Make the folder, its configuration and the PIN file; no token yet."""
        self.tokens.mkdir(parents=True, mode=0o700)
        self.config.write_text(
            f"directories.tokendir = {self.tokens}\n"
            "objectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
        )
        self.pin_file.touch(mode=0o600)
        self.pin_file.write_text(pin + "\n")

    def initialise(self, label: str, *, pin: str = USER_PIN) -> None:
        """Initialise one more token in this folder."""
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label,
             "--so-pin", SO_PIN, "--pin", pin],
            env=self.environment, check=True, capture_output=True,
        )  # fmt: skip


def module_path() -> Path:
    """Return where SoftHSM's module is.

    Raises:
        ModuleError: it is not installed.
    """
    paths = load_profile("softhsm2").module_paths
    found = next((path for path in paths if path.exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        raise ModuleError("SoftHSM is not installed", hint="apt-get install softhsm2")
    return found
