import pytest

from signer.bls.eip2333 import derive_child, derive_master, derive_path, parse_path, withdrawal_path
from signer.bls.scalar import SecretScalar
from signer.errors import KeystoreError
from signer.secret import SecretBytes


def test_paths() -> None:
    assert parse_path("m") == ()
    assert parse_path("m/12381/3600/7/0/0") == (12381, 3600, 7, 0, 0)
    assert parse_path("m/4294967295") == (2**32 - 1,)
    assert withdrawal_path(12) == "m/12381/3600/12/0"


@pytest.mark.case("X110", "key paths that are almost paths")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "m/",
        "M/0",
        "n/0",
        "m//0",
        "m/00",
        "m/01",
        "m/-1",
        "m/+1",
        "m/1 ",
        " m/1",
        "m/0x1",
        "m/1'",
        "m/1h",
        "m/4294967296",
        "m/99999999999",
        "m/١",
        "m/1\n",
        "m" + "/0" * 17,
    ],
)
def test_no_path(path: str) -> None:
    with pytest.raises(KeystoreError) as caught:
        parse_path(path)
    assert caught.value.code == "E_KEY_PATH"
    assert "\n" not in caught.value.line()


@pytest.mark.case("X111", "key numbers that are not in 0..2**32-1")
@pytest.mark.parametrize("number", [-1, 2**32, True, "0", 1.0])
def test_no_key_number(number: int) -> None:
    with pytest.raises(KeystoreError) as caught:
        withdrawal_path(number)
    assert caught.value.code == "E_KEY_PATH"


@pytest.mark.case("X112", "a seed of less than 32 bytes")
def test_short_seed() -> None:
    with pytest.raises(KeystoreError, match="31 bytes"):
        derive_master(SecretBytes(bytes(31)))


def test_a_path_is_its_steps_and_the_keys_between_are_wiped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seed = SecretBytes(bytes(range(32)))
    by_hand = derive_child(derive_child(derive_master(seed), 3), 2**32 - 1)
    wiped: list[bytes] = []
    wipe = SecretScalar.wipe

    def remember(scalar: SecretScalar) -> None:
        if not scalar._wiped:
            wiped.append(bytes(scalar._buffer.raw))
        wipe(scalar)
        assert scalar._buffer.raw == bytes(32)

    monkeypatch.setattr(SecretScalar, "wipe", remember)
    derived = derive_path(seed, "m/3/4294967295")
    assert len(wiped) == 2
    monkeypatch.undo()
    assert derived == by_hand
