"""Which packaged profile describes a token, and that a vague one does not stand in for it."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from signer.errors import UnknownTokenError
from signer.hsm.discovery import TokenInfo, profile_for, require_profile
from signer.hsm.profile import load_profile, profile_names
from signer.hsm.profile_facts import Match

NOBODY: Any = None  # no slot is asked


def token(manufacturer: str, model: str) -> TokenInfo:
    return TokenInfo(
        label="desk",
        serial="00ff",
        manufacturer=manufacturer,
        model=model,
        initialized=True,
        user_pin_set=True,
        count_low=False,
        final_try=False,
        locked=False,
        protected_auth=False,
        slot=NOBODY,
    )


SEEN = [
    ("SoftHSM project", "SoftHSM v2", "softhsm2"),
    ("Yubico (www.yubico.com)", "YubiHSM", "yubihsm2"),
    ("Yubico (www.yubico.com)", "YubiKey YK5", "yubikey-piv"),
    ("www.CardContact.de", "PKCS#15 emulated", "nitrokey-hsm2"),
    ("piv_II", "PKCS#15 emulated", "opensc"),
    ("OpenSC Project", "PKCS#15", "opensc"),
    ("IBM", "SW   TPM", "tpm2-swtpm"),
    ("IBM", "Soft", "opencryptoki"),
    ("IBM Corp.", "IBM SoftTok", "opencryptoki-3-8"),
    ("Mozilla Foundation", "NSS 3", "nss-softokn"),
    ("SafeNet", "Luna K7", "luna"),
    ("Infineon", "SLB9670", "generic"),
    ("", "", "generic"),
]


@pytest.mark.parametrize(("manufacturer", "model", "name"), SEEN)
def test_the_most_precise_profile_describes_a_token(
    manufacturer: str, model: str, name: str
) -> None:
    seen = token(manufacturer, model)
    found = profile_for(seen)
    assert found is not None
    assert found.name == name
    require_profile(seen, found)


def test_every_profile_is_some_tokens_or_told_by_its_module() -> None:
    by_name = {name for _, _, name in SEEN}
    told = {"tpm2": token("Infineon", "SLB9670"), "softhsm2-p11-kit": token(*SEEN[0][:2])}
    assert by_name | set(told) == set(profile_names())
    for name, seen in told.items():
        profile = load_profile(name)
        module = Path("/elsewhere") / profile.module_paths[0].name
        assert profile_for(seen, module) == profile
        assert profile_for(seen, Path("/elsewhere/other.so")) != profile
        require_profile(seen, profile)


def test_a_module_does_not_outweigh_a_name() -> None:
    tpm = load_profile("tpm2").module_paths[0]
    found = profile_for(token("IBM", "SW   TPM"), tpm)
    assert found is not None
    assert found.name == "tpm2-swtpm"


@pytest.mark.case("X870", "`generic`, or a profile as vague, for a token that is known by name")
@pytest.mark.parametrize("vague", ["generic", "tpm2"])
@pytest.mark.parametrize(
    ("manufacturer", "model", "name"), [seen for seen in SEEN if seen[2] != "generic"]
)
def test_no_vague_profile_hides_what_a_token_is(
    vague: str, manufacturer: str, model: str, name: str
) -> None:
    with pytest.raises(UnknownTokenError) as caught:
        require_profile(token(manufacturer, model), load_profile(vague))
    assert caught.value.code == "E_TOKEN_UNKNOWN"
    assert f"--profile {name}" in caught.value.hint
    assert "left unchanged" in caught.value.message


@pytest.mark.case("X871", "profile for another device: the hint names the right one")
def test_the_hint_names_the_profile_that_fits() -> None:
    with pytest.raises(UnknownTokenError) as caught:
        require_profile(token("IBM Corp.", "IBM SoftTok"), load_profile("yubihsm2"))
    assert caught.value.hint.endswith("--profile opencryptoki-3-8")


def test_no_other_profile_is_read_for_a_token_that_its_own_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("signer.hsm.discovery.profile_for", lambda *_: pytest.fail("read"))
    require_profile(token("SoftHSM project", "SoftHSM v2"), load_profile("softhsm2"))


def test_a_profile_of_ones_own_that_names_the_device_is_enough() -> None:
    mine = dataclasses.replace(load_profile("generic"), name="mine", match=Match("Maker*", "One"))
    require_profile(token("Maker & Sons", "One"), mine)
