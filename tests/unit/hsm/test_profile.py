from pathlib import Path

import pytest

from signer.errors import ProfileError
from signer.hsm.profile import DeviceProfile, load_profile, profile_names, require_ceremony
from signer.hsm.profile_facts import Match
from signer.strict import Fields

SEAL = b"seal: [hpke-p256, aes-256-gcm, rsa-oaep-sha1]"
SOFTHSM = (Path(__file__).parents[3] / "hsm_profiles" / "softhsm2.yaml").read_bytes()


def test_every_packaged_profile_is_valid() -> None:
    assert "softhsm2" in profile_names()
    for name in profile_names():
        assert load_profile(name).name == name


@pytest.mark.parametrize(
    ("match", "manufacturer", "model", "covered"),
    [
        (Match("Maker", "One"), "Maker", "One", True),
        (Match("Maker", "One"), "Maker", "One X", False),
        (Match("Maker", "One*"), "Maker", "One X", True),
        (Match("Maker", "One*"), "Maker", "One", True),
        (Match("Maker", "One*"), "Maker", "On", False),
        (Match("*", "One"), "", "One", True),
        (Match("*", "*"), "", "", True),
        (Match("Maker", "One"), "maker", "One", False),
    ],
)
def test_what_a_match_covers(match: Match, manufacturer: str, model: str, covered: bool) -> None:
    assert match.covers(manufacturer, model) is covered


def test_a_whole_name_is_more_precise_than_a_beginning() -> None:
    ordered = [
        Match("*", "*"),
        Match("*", "PKCS*"),
        Match("Maker*", "PKCS*"),
        Match("*", "X"),
        Match("*", "PKCS#15"),
        Match("Maker", "PKCS*"),
        Match("A", "B"),
    ]
    assert sorted(ordered, key=lambda match: match.precision) == ordered
    assert [match.names_a_device for match in ordered] == [False] * 3 + [True] * 4


def test_softhsm() -> None:
    profile = load_profile("softhsm2")
    assert profile.match == Match("SoftHSM project", "SoftHSM v2")
    assert Path("/usr/lib/softhsm/libsofthsm2.so") in profile.module_paths
    assert profile.environment == ("SOFTHSM2_CONF",)
    assert (profile.pin_min, profile.pin_max) == (4, 255)
    assert (profile.pin_tries, profile.pin_lock) == (None, "never")
    assert (profile.seal, profile.seal_methods[0]) == ("hpke-p256", "hpke-p256")
    assert (profile.verified, profile.proven) == ("run here", True)
    assert (profile.ceremony, profile.key_backup, profile.software) == (True, "possible", True)


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_comes_out_as_it_went_in(name: str) -> None:
    profile = load_profile(name)
    assert DeviceProfile.take(Fields(profile.to_json(), "profile")) == profile


def test_a_profile_is_run_here_only_if_each_of_its_facts_is() -> None:
    assert load_profile("softhsm2").verified == "run here"
    run, said = b"match: {verified: run here", b"match: {verified: documented"
    assert DeviceProfile.parse(change(run, said), "x.yaml").verified == "documented"


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
        ("yubihsm9", "softhsm2, "),
        ("", "softhsm2, "),
        ("..", "softhsm2, "),
        ("/no/such.yaml", "no such file"),
        ("/tmp", "is a directory"),
    ],
)
def test_unknown_profile(name: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(name)
    assert words in caught.value.line()


def change(old: bytes, new: bytes, *more: tuple[bytes, bytes]) -> bytes:
    raw = SOFTHSM
    for before, after in ((old, new), *more):
        assert raw.count(before) == 1
        raw = raw.replace(before, after)
    return raw


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
            change(b"version: 2", b"version: 1"),
            "'version'",
            marks=pytest.mark.case("P13", "profile: the format version before"),
        ),
        pytest.param(
            change(b"path: /usr/lib/pkcs11/libsofthsm2.so", b"path: libsofthsm2.so"),
            "modules 6: field 'path'",
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
            change(SEAL, b"seal: [rot13]"),
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
            change(b"match: {verified: run here", b"match: {verified: certified"),
            "evidence: match: field 'verified'",
            marks=pytest.mark.case("X162", "profile: a claim that has no meaning"),
        ),
        pytest.param(
            change(SEAL, b"seal: hpke-p256"),
            "'seal' must be a list",
            marks=pytest.mark.case("X860", "profile: one seal method, not in a list"),
        ),
        pytest.param(
            change(SEAL, b"seal: []"),
            "'seal' must be a list of 1 to 5",
            marks=pytest.mark.case("X860", "profile: no seal method at all"),
        ),
        pytest.param(
            change(SEAL, b"seal: [hpke-p256, hpke-p256]"),
            "'seal' has an entry twice",
            marks=pytest.mark.case("X860", "profile: seal method twice"),
        ),
        pytest.param(
            change(SEAL, b"seal: [hpke-p256, [rsa-oaep-sha256]]"),
            "'seal' has an entry that is none of",
            marks=pytest.mark.case("X860", "profile: a list for a seal method"),
        ),
        pytest.param(
            change(SEAL, b"seal: [hpke-p256, pin-protected]"),
            "'allow_weak' must be true",
            marks=pytest.mark.case("X861", "profile: a PIN for a seal, and nobody allowed it"),
        ),
        pytest.param(
            change(b"allow_weak: false", b"allow_weak: true"),
            "'allow_weak' must be true exactly where",
            marks=pytest.mark.case("X861", "profile: weakness allowed where there is none"),
        ),
        pytest.param(
            change(SEAL, b"seal: [rsa-oaep-sha256]"),
            "'ceremony' cannot be true without hpke-p256",
            marks=pytest.mark.case("X862", "profile: ceremonies without hpke-p256"),
        ),
        pytest.param(
            change(b"provenance: strict", b"provenance: unproven"),
            "'ceremony' cannot be true where 'provenance' is unproven",
            marks=pytest.mark.case("X862", "profile: ceremonies with keys of unknown origin"),
        ),
        pytest.param(
            change(b"data_objects: true", b"data_objects: false"),
            "'journal_anchor' cannot be token",
            marks=pytest.mark.case("X863", "profile: anchor on a token that stores no objects"),
        ),
        pytest.param(
            change(
                b"data_objects: true, max_data_bytes: null",
                b"data_objects: false, max_data_bytes: 9",
                (b"journal_anchor: token", b"journal_anchor: host"),
            ),
            "'max_data_bytes' although",
            marks=pytest.mark.case("X863", "profile: size of data objects that cannot be stored"),
        ),
        pytest.param(
            change(b"tries: null", b"tries: 3"),
            "'tries' although its 'lock' is never",
            marks=pytest.mark.case("X864", "profile: tries of a token that never locks"),
        ),
        pytest.param(
            change(b"tries: null", b"tries: 0"),
            "'tries' must be an integer from 1",
            marks=pytest.mark.case("X864", "profile: a token that takes no PIN at all"),
        ),
        pytest.param(
            change(b"tries: null", b"tries: true"),
            "'tries'",
            marks=pytest.mark.case("F8", "profile: boolean for a count of tries"),
        ),
        pytest.param(
            change(b"lock: never", b"lock: loudly"),
            "'lock' must be one of flags, silent, never",
            marks=pytest.mark.case("X864", "profile: unknown way to lock"),
        ),
        pytest.param(
            change(b"login: process", b"login: machine"),
            "'login'",
            marks=pytest.mark.case("X864", "profile: unknown scope of a login"),
        ),
        pytest.param(
            change(b"model: SoftHSM v2", b"model: Soft*HSM"),
            "match: field 'model'",
            marks=pytest.mark.case("X865", "profile: star in the middle of a name"),
        ),
        pytest.param(
            change(b"model: SoftHSM v2", b"model: 17 letters, a lot"),
            "match: field 'model'",
            marks=pytest.mark.case("X865", "profile: longer name than a token can have"),
        ),
        pytest.param(
            change(b"model: SoftHSM v2", b"model: ''"),
            "match: field 'model'",
            marks=pytest.mark.case("X865", "profile: empty name"),
        ),
        pytest.param(
            change(b"/usr/lib/pkcs11/", b"/usr/lib/softhsm/"),
            "'modules' has a path twice",
            marks=pytest.mark.case("X866", "profile: one path by two vendors"),
        ),
        pytest.param(
            change(b", by: Arch}", b", on: Arch}"),
            "plain string",
            marks=pytest.mark.case("X866", "profile: `on`, which YAML reads as true"),
        ),
        pytest.param(
            change(b"quirks: [oaep-sha1-only]", b"quirks: [slow]"),
            "'quirks' has an entry that is none of",
            marks=pytest.mark.case("X867", "profile: unknown quirk"),
        ),
        pytest.param(
            change(b"  touch: {verified: run here, source: software}\n", b""),
            "evidence: field 'touch' is missing",
            marks=pytest.mark.case("X868", "profile: a fact without evidence"),
        ),
        pytest.param(
            change(b"evidence:\n", b"evidence:\n  notes: {verified: documented, source: x}\n"),
            "evidence: unknown field 'notes'",
            marks=pytest.mark.case("X868", "profile: evidence of what is no fact"),
        ),
        pytest.param(
            change(b"source: software}", b"source: ''}"),
            "evidence: touch: field 'source'",
            marks=pytest.mark.case("X868", "profile: evidence without a source"),
        ),
        pytest.param(
            change(b"source: software}", b"source: 'unverified: nobody says'}"),
            "'verified' cannot be 'run here'",
            marks=pytest.mark.case("X868", "profile: run here, and unverified"),
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
        *("version", "name", "title", "match", "modules", "environment", "initialise"),
        *("seal", "allow_weak", "ceremony", "provenance", "key_backup", "software"),
        *("pin", "sessions", "objects", "journal_anchor", "touch", "quirks", "evidence", "notes"),
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
