"""SoftHSM 2, whole; and with lists of mechanisms that imitate a PIV card and an RSA-only card."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from signer.testing.softhsm import SO_PIN, SoftHSM, module_path
from tests.modules.under_test import ModuleUnderTest

LABEL = "desk"
PIN = "1234"
# 2.6.1 has RSA-OAEP with SHA-1 only, and never locks.
_ALWAYS = frozenset({"data-objects", "provenance", "own-serial", "only-token", "tells-pin-count"})
_OPEN = frozenset(
    {"foreign-keys", "imports-keys", "open-public-objects", "tells-pin-count", "twin-objects"}
)
_RSA = ("CKM_RSA_PKCS_KEY_PAIR_GEN", "CKM_RSA_PKCS", "CKM_RSA_PKCS_OAEP", "CKM_SHA256")
_EC = ("CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA", "CKM_ECDH1_DERIVE")


@contextlib.contextmanager
def softhsm(folder: Path) -> Iterator[ModuleUnderTest]:
    """Everything that SoftHSM has."""
    with _restricted(folder, "softhsm2", ()) as under:
        yield under


@contextlib.contextmanager
def piv(folder: Path) -> Iterator[ModuleUnderTest]:
    """What a PIV card has: RSA, ECDSA and ECDH, nothing symmetric."""
    with _restricted(folder, "softhsm2-piv", (*_RSA, *_EC)) as under:
        yield under


@contextlib.contextmanager
def rsa_card(folder: Path) -> Iterator[ModuleUnderTest]:
    """What an older smartcard has: RSA and nothing else."""
    with _restricted(folder, "softhsm2-rsa-card", _RSA) as under:
        yield under


@contextlib.contextmanager
def _restricted(folder: Path, name: str, mechanisms: tuple[str, ...]) -> Iterator[ModuleUnderTest]:
    token = SoftHSM.create(folder / name, LABEL, pin=PIN)
    abilities = _ALWAYS | _OPEN | {"rsa-oaep-sha1"}
    if mechanisms:
        with token.config.open("a") as config:
            config.write(f"slots.mechanisms = {','.join(mechanisms)}\n")
    if not mechanisms or "CKM_ECDSA" in mechanisms:
        abilities |= {"ecdsa-p256", "ecdh-p256"}
    if not mechanisms:
        abilities |= {"aes-256-gcm"}
    yield ModuleUnderTest(
        name=name,
        path=module_path(),  # one at a time; a copy would need a folder that may hold programs
        environment={"SOFTHSM2_CONF": str(token.config)},
        label=LABEL,
        pin=PIN,
        so_pin=SO_PIN,
        profile_name="softhsm2",
        abilities=abilities,
    )
