from pathlib import Path

import pytest

from signer.errors import ProfileError
from signer.hsm.profile import DeviceProfile, load_profile, profile_names, require_ceremony
from signer.strict import Fields

SOFTHSM = (Path(__file__).parents[3] / "hsm_profiles" / "softhsm2.yaml").read_bytes()


def test_every_packaged_profile_is_valid_and_in_the_table() -> None:
    table = (Path(__file__).parents[3] / "hsm_profiles" / "README.md").read_text()
    assert "softhsm2" in profile_names()
    for name in profile_names():
        assert load_profile(name).name == name
        assert f"| `{name}` |" in table


def test_softhsm() -> None:
    profile = load_profile("softhsm2")
    assert (profile.manufacturer, profile.model) == ("SoftHSM project", "SoftHSM v2")
    assert Path("/usr/lib/softhsm/libsofthsm2.so") in profile.module_paths
    assert profile.environment == ("SOFTHSM2_CONF",)
    assert (profile.pin_min, profile.pin_max) == (4, 255)
    assert (profile.seal, profile.verified) == ("hpke-p256", "run here")
    assert (profile.ceremony, profile.key_backup, profile.software) == (True, "possible", True)


def test_a_profile_comes_out_as_it_went_in() -> None:
    profile = load_profile("softhsm2")
    assert DeviceProfile.take(Fields(profile.to_json(), "profile")) == profile


def test_a_kind_of_token_that_is_fit_for_ceremonies() -> None:
    require_ceremony(load_profile("softhsm2"))


@pytest.mark.case("X611", "profile of a token with no raw ECDH or ECDSA: no ceremony with it")
def test_a_kind_of_token_that_is_fit_for_none() -> None:
    profile = DeviceProfile.parse(change(b"ceremony: true", b"ceremony: false"), "x.yaml")
    with pytest.raises(ProfileError, match="cannot take part in a ceremony") as caught:
        require_ceremony(profile)
    assert caught.value.code == "E_PROFILE"
    for words in (profile.title, "'softhsm2'", "CKM_ECDH1_DERIVE", "CKM_ECDSA"):
        assert words in caught.value.message


def test_a_profile_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(SOFTHSM.replace(b"name: softhsm2", b"name: mine"))
    assert load_profile(str(path)).name == "mine"


@pytest.mark.case("X159", "profile: a name that none has, tricks in the name, no file")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("yubihsm9", "known: softhsm2"),
        ("", "known: softhsm2"),
        ("..", "known: softhsm2"),
        ("/no/such.yaml", "no such file"),
        ("/tmp", "is a directory"),
    ],
)
def test_unknown_profile(name: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(name)
    assert words in caught.value.line()


def change(old: bytes, new: bytes) -> bytes:
    assert SOFTHSM.count(old) == 1
    return SOFTHSM.replace(old, new)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"", "empty", marks=pytest.mark.case("F1", "profile: empty")),
        pytest.param(SOFTHSM * 9, "at most", marks=pytest.mark.case("F3", "profile: too large")),
        pytest.param(
            SOFTHSM + b"name: x\n", "'name'", marks=pytest.mark.case("F6", "profile: field twice")
        ),
        pytest.param(
            SOFTHSM + b"colour: red\n",
            "unknown field 'colour'",
            marks=pytest.mark.case("F7", "profile: unknown field"),
        ),
        pytest.param(
            change(b"  model: SoftHSM v2", b"  model: SoftHSM v2\n  slot: 3"),
            "match: unknown field 'slot'",
            marks=pytest.mark.case("F7", "profile: unknown field below match"),
        ),
        pytest.param(
            change(b"min_length: 4", b"min_length: 4.0"),
            "4.0",
            marks=pytest.mark.case("F8", "profile: float for a length"),
        ),
        pytest.param(
            change(b"min_length: 4", b"min_length: true"),
            "'min_length'",
            marks=pytest.mark.case("F8", "profile: boolean for a length"),
        ),
        pytest.param(
            change(b"max_length: 255", b"max_length: 3"),
            "'max_length'",
            marks=pytest.mark.case("X160", "profile: longest PIN shorter than the shortest"),
        ),
        pytest.param(
            change(b"max_length: 255", b"max_length: 256"),
            "'max_length'",
            marks=pytest.mark.case("X160", "profile: PIN longer than PKCS#11 tools take"),
        ),
        pytest.param(
            change(b"version: 1", b"version: 2"),
            "'version'",
            marks=pytest.mark.case("P13", "profile: unknown format version"),
        ),
        pytest.param(
            change(b"  - /usr/lib/pkcs11/libsofthsm2.so ", b"  - libsofthsm2.so "),
            "module_paths",
            marks=pytest.mark.case("X161", "profile: module path that is not absolute"),
        ),
        pytest.param(
            change(b"  - SOFTHSM2_CONF", b"  - SOFTHSM2_CONF\n  - SOFTHSM2_CONF"),
            "'environment' has an entry twice",
            marks=pytest.mark.case("X161", "profile: variable twice"),
        ),
        pytest.param(
            change(b"  - SOFTHSM2_CONF", b"  - LD_PRELOAD=x"),
            "environment",
            marks=pytest.mark.case("X161", "profile: variable with a value"),
        ),
        pytest.param(
            change(b"seal: hpke-p256", b"seal: rot13"),
            "'seal'",
            marks=pytest.mark.case("X162", "profile: unknown seal method"),
        ),
        pytest.param(
            change(b"ceremony: true", b"ceremony: maybe"),
            "'ceremony'",
            marks=pytest.mark.case("X612", "profile: ceremony neither true nor false"),
        ),
        pytest.param(
            change(b"ceremony: true", b"ceremony: yes"),
            "'yes'",
            marks=pytest.mark.case("X612", "profile: YAML's yes, which is text here"),
        ),
        pytest.param(
            change(b"key_backup: possible", b"key_backup: perhaps"),
            "'key_backup'",
            marks=pytest.mark.case("X612", "profile: key backup neither possible nor impossible"),
        ),
        pytest.param(
            change(b"software: true", b"software: 1"),
            "'software'",
            marks=pytest.mark.case("X612", "profile: a number for software"),
        ),
        pytest.param(
            change(b"provenance: strict", b"provenance: lax"),
            "'provenance'",
            marks=pytest.mark.case("X162", "profile: looser provenance"),
        ),
        pytest.param(
            change(b"verified: run here", b"verified: certified"),
            "'verified'",
            marks=pytest.mark.case("X162", "profile: a claim that has no meaning"),
        ),
    ],
)
def test_refuses(raw: bytes, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        DeviceProfile.parse(raw, "x.yaml")
    assert words in caught.value.message
    assert "x.yaml" in caught.value.message


@pytest.mark.parametrize(
    "field",
    [
        *("version", "name", "title", "match", "module_paths", "environment", "initialise"),
        *("seal", "pin", "provenance", "verified", "notes"),
        *("ceremony", "key_backup", "software"),
    ],
)
def test_every_field_is_required(field: str) -> None:
    raw = change(f"\n{field}:".encode(), f"\nx{field}:".encode())
    with pytest.raises(ProfileError, match=f"'{field}' is missing"):
        DeviceProfile.parse(raw, "x.yaml")


@pytest.mark.case("F2", "profile: truncated at every 1/8")
def test_truncated() -> None:
    for eighth in range(1, 8):
        with pytest.raises(ProfileError):
            DeviceProfile.parse(SOFTHSM[: len(SOFTHSM) * eighth // 8], "x.yaml")
