import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from signer.sealing.hkdf import MAX_BYTES, derive
from signer.secret import SecretBytes


def test_rfc_5869_case_3() -> None:
    """Appendix A.3: SHA-256, no salt, no info."""
    with derive(SecretBytes(b"\x0b" * 22), b"", 42) as output:
        assert output.expose().hex() == (
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        )


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=80), st.integers(1, 200))
def test_it_is_the_one_of_cryptography(secret: bytes, info: bytes, size: int) -> None:
    expected = HKDF(SHA256(), size, None, info).derive(secret)
    with derive(SecretBytes(secret), info, size) as output:
        assert output.expose() == expected


def test_the_secret_is_left_to_its_owner() -> None:
    secret = SecretBytes(b"\x07" * 32)
    derive(secret, b"a", 32).wipe()
    assert secret.expose() == b"\x07" * 32


@pytest.mark.parametrize("size", [-1, 0, MAX_BYTES + 1])
def test_size(size: int) -> None:
    with pytest.raises(ValueError, match="HKDF"):
        derive(SecretBytes(b"\x07" * 32), b"", size)
