"""A PKCS#11 module with one token of ours on it, and what this version of it can do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from signer.hsm.module import Module, load_module
from signer.hsm.profile import DeviceProfile, load_profile
from signer.recipient import HPKE_P256, METHODS

# What a token may be able to do, and the codes with which our code says that one cannot.
# An ability without codes is one that nothing of ours can refuse: a test asks for it and says what
# happens instead.
REFUSALS: Mapping[str, frozenset[str]] = {
    "ecdsa-p256": frozenset({"E_MECHANISM"}),  # keys made on it, CKM_ECDSA
    "ecdh-p256": frozenset({"E_MECHANISM"}),  # keys made on it, CKM_ECDH1_DERIVE with CKD_NULL
    "rsa-oaep-sha256": frozenset({"E_MECHANISM"}),  # keys made on it, CKM_RSA_PKCS_OAEP
    "rsa-oaep-sha1": frozenset({"E_MECHANISM"}),
    "aes-256-gcm": frozenset({"E_MECHANISM"}),  # keys made on it, CKM_AES_GCM
    "data-objects": frozenset({"E_ANCHOR"}),  # private, made, found, destroyed
    "provenance": frozenset({"E_PROVENANCE"}),  # says LOCAL of a key that it made
    "own-serial": frozenset({"E_TOKEN_AMBIGUOUS"}),  # no other token of the module has it
    "only-token": frozenset({"E_TOKEN_AMBIGUOUS"}),  # the module shows no other that is initialised
    "imports-keys": frozenset({"E_TOKEN_KEY"}),  # P-256 keys that were made elsewhere
    # P-256 keys that another program made on it, with other attributes than ours:
    "foreign-keys": frozenset({"E_TOKEN", "E_TOKEN_KEY", "E_MECHANISM"}),
    # anybody can change them, without the PIN:
    "open-public-objects": frozenset({"E_TOKEN", "E_TOKEN_KEY", "E_TOKEN_REMOVED"}),
    "twin-objects": frozenset(),  # two public objects of one CKA_ID; else the later takes the place
    "locks-pin": frozenset(),  # after a few wrong ones
    "tells-pin-count": frozenset(),  # by COUNT_LOW, FINAL_TRY or LOCKED
}
SEALING = {method: method for method in METHODS} | {HPKE_P256: "ecdh-p256"}  # what each needs


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleUnderTest:
    """One module, started, with an initialised token that holds nothing."""

    name: str
    path: Path
    environment: Mapping[str, str]  # what the module reads; set while it is under test
    label: str
    pin: str
    so_pin: str
    profile_name: str
    abilities: frozenset[str]
    serial: str | None = None  # of a token that was chosen by it
    tries: int | None = None  # wrong PINs that lock it
    own_profile: bool = True  # False: one that was written for another device
    load: Callable[[Path], Module] = field(default=load_module, repr=False)

    def __post_init__(self) -> None:
        unknown = self.abilities - REFUSALS.keys()
        if unknown:
            raise ValueError(f"{self.name}: no ability is called {', '.join(sorted(unknown))}")

    @property
    def profile(self) -> DeviceProfile:
        """The device profile that describes it."""
        return load_profile(self.profile_name)
