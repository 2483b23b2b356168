"""A device of somebody's, named by its serial number: the one case where a token is not ours.

It must hold no key and no anchor of a journal, so that whatever is destroyed is what tests made.
Wrong PINs are never offered to it, and nothing is done that only a stranger would do.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pkcs11.mechanisms import Mechanism

from signer.errors import TokenError, UsageError
from signer.hsm.discovery import TokenInfo, TokenSelector, find_token, list_tokens, require_profile
from signer.hsm.module import Module, load_module
from signer.hsm.pin import PinFile
from signer.hsm.profile import DeviceProfile, load_profile
from signer.hsm.session import open_session
from signer.secret import SecretBytes
from tests.modules.bench import OUR_LABELS, ours_on
from tests.modules.under_test import ModuleUnderTest

# What no profile says of a device, and no test finds out on one.
UNKNOWN = frozenset(
    {"imports-keys", "foreign-keys", "open-public-objects", "twin-objects"}
    | {"locks-pin", "tells-pin-count"}
)
_EC, _RSA = Mechanism.EC_KEY_PAIR_GEN, Mechanism.RSA_PKCS_KEY_PAIR_GEN
_MECHANISMS = {
    "ecdsa-p256": {_EC, Mechanism.ECDSA},
    "ecdh-p256": {_EC, Mechanism.ECDH1_DERIVE},
    "rsa-oaep-sha256": {_RSA, Mechanism.RSA_PKCS_OAEP},
    "rsa-oaep-sha1": {_RSA, Mechanism.RSA_PKCS_OAEP},
    "aes-256-gcm": {Mechanism.AES_KEY_GEN, Mechanism.AES_GCM},
}


@contextlib.contextmanager
def device(
    serial: str, module: Path, profile_name: str, pin_file: Path
) -> Iterator[ModuleUnderTest]:
    """Take the token of this serial number, if it is one to be tested.

    Raises:
        TokenError: E_TOKEN_ABSENT, E_TOKEN_AMBIGUOUS, E_TOKEN_UNKNOWN: another one is there, and
            nobody logged in. E_TOKEN: wrong PINs were counted (nobody logged in), or it holds keys.
    """
    profile = load_profile(profile_name)
    with load_module(module) as loaded:
        token = find_token(loaded, TokenSelector(serial=serial))
        require_profile(token, profile)
        if token.count_low or token.final_try or token.locked:
            raise TokenError(f"{token.describe()} has counted wrong PINs: it is not tested")
        _require_empty(loaded, token, profile, pin_file)
        abilities = _abilities(loaded, token, profile)
    with PinFile(pin_file).read(token.describe()) as pin:
        text = _text(pin)
    yield ModuleUnderTest(
        name="device",
        path=module,
        environment={},
        label=token.label,
        serial=serial,
        pin=text,
        so_pin="",
        profile_name=profile_name,
        abilities=abilities,
    )


def of_options(
    option: Callable[[str], str | None],
) -> contextlib.AbstractContextManager[ModuleUnderTest]:
    """Return the device that pytest's options name.

    Raises:
        UsageError: one of them is missing.
    """
    names = ("--device", "--device-module", "--device-profile", "--device-pin-file")
    serial, module, profile, pin_file = (option(name) for name in names)
    if serial is None or module is None or profile is None or pin_file is None:
        raise UsageError(f"{', '.join(names)} are given together")
    return device(serial, Path(module), profile, Path(pin_file))


def _require_empty(module: Module, token: TokenInfo, profile: DeviceProfile, pin: Path) -> None:
    with open_session(module, token, profile, PinFile(pin)) as session:
        there = len(ours_on(session))
    if there:
        raise TokenError(
            f"{token.describe()} holds {there} keys or anchors: it is not tested",
            hint=f"a device under test holds nothing; tests make and destroy {OUR_LABELS}",
        )


def _abilities(module: Module, token: TokenInfo, profile: DeviceProfile) -> frozenset[str]:
    """Return what it can do, by its list of mechanisms and by what its profile says."""
    offered = set(token.slot.get_mechanisms())
    found = {ability for ability, needed in _MECHANISMS.items() if needed <= offered}
    if "oaep-sha1-only" in profile.quirks:
        found.discard("rsa-oaep-sha256")
    if profile.data_objects:
        found.add("data-objects")
    if profile.proven:
        found.add("provenance")
    if len([other for other in list_tokens(module) if other.initialized]) == 1:
        found.add("only-token")
    return frozenset(found | {"own-serial"})


def _text(pin: SecretBytes) -> str:
    return bytes(pin.expose()).decode()
