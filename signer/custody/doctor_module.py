"""Whether a profile's PKCS#11 module is there and can be loaded. It is looked at, not loaded."""

import contextlib
import re
import shlex
from pathlib import Path

from signer.custody.doctor import Finding
from signer.custody.jobs.sources import TokenChoice
from signer.errors import SignerError
from signer.hsm.library import require_loadable
from signer.hsm.module_file import require_unchangeable
from signer.hsm.profile import DeviceProfile
from signer.hsm.profile_facts import ModulePlace

_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))  # os-release(5)


def module_path(token: TokenChoice) -> Path | None:
    """Return the module's file as a worker would choose it."""
    if token.module is not None:
        return Path(token.module)
    return next((path for path in token.profile.module_paths if path.is_file()), None)


def missing_module(profile: DeviceProfile, named: Path | None, system: str) -> Finding:
    """Say where the module of `profile` comes from.

    Args:
        profile: whose.
        named: where somebody said that it is, and it is not.
        system: os-release's text of this machine.
    """
    if named is not None:
        what = f"there is no PKCS#11 module {str(named)!r}"
    elif not profile.modules:
        what = f"profile {profile.name!r} knows no place of a PKCS#11 module"
    else:
        what = f"the PKCS#11 module of {profile.title} is not installed"
    if not profile.modules:
        fix = "install the device's software, then name its module: --module, or token.module"
    else:
        places = "; ".join(
            f"{place.by}: {shlex.quote(str(place.path))}" for place in places_on(profile, system)
        )
        fix = f"install it ({places}), or name it: --module, or token.module"
    return Finding("D_MODULE", "bad", what, fix)


def places_on(profile: DeviceProfile, system: str) -> tuple[ModulePlace, ...]:
    """Return where `profile` says the module is on this distribution; else all it says."""
    values = dict(line.partition("=")[::2] for line in system.splitlines())
    names = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").lower().split()
    here = tuple(
        place
        for place in profile.modules
        if not {*names}.isdisjoint(re.split(r"[^a-z0-9]+", place.by.lower()))
    )
    return here or profile.modules


def this_system() -> str:
    """Return os-release's text; empty where there is none."""
    for path in _OS_RELEASE:
        with contextlib.suppress(OSError):
            return path.read_text("utf-8", "replace")
    return ""


def module_finding(path: Path) -> Finding:
    """Judge a module's file: whole, for this machine, and nobody else can put another there."""
    try:
        require_unchangeable(path)
        require_loadable(path)
    except SignerError as error:
        fix = error.hint or "let root own it and every folder above"
        return Finding("D_MODULE", "bad", error.message, fix)
    return Finding("D_MODULE", "ok", f"nobody else can change the module {str(path)!r}")
