"""The certificates of an attestation, out of the files that vendors' tools write."""

import base64
from pathlib import Path

import pytest

from signer.cli.carding import certificates_of, read_attestation
from signer.errors import InputError, SchemaError, UsageError
from signer.messages.card import MAX_CERTIFICATE_BYTES, Attestation

SHORT = b"\x30\x03abc"
MIDDLE = b"\x30\x81\x80" + bytes(range(128))
LONG = b"\x30\x82\x02\x00" + bytes(512)
CVC = b"\x7f\x21\x81\x90" + bytes(144)  # of a SmartCard-HSM
LARGEST = b"\x30\x82\x1f\xfc" + bytes(MAX_CERTIFICATE_BYTES - 4)


def pem(der: bytes, label: str = "CERTIFICATE") -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


@pytest.mark.parametrize(
    ("raw", "certificates"),
    [
        (SHORT, [SHORT]),
        (MIDDLE, [MIDDLE]),
        (LONG, [LONG]),
        (LARGEST, [LARGEST]),
        (CVC, [CVC]),
        (CVC + CVC, [CVC, CVC]),
        (LONG + MIDDLE, [LONG, MIDDLE]),
        (pem(LONG), [LONG]),
        (pem(LONG).replace(b"\n", b"\r\n"), [LONG]),
        (b"subject=Yubico\n" + pem(LONG) + b"\nissuer=Yubico\n" + pem(SHORT), [LONG, SHORT]),
    ],
)
def test_certificates(raw: bytes, certificates: list[bytes]) -> None:
    assert certificates_of(raw, "attestation") == certificates


@pytest.mark.case("X603", "attestation file: empty, text, cut off, with a tail, of another kind")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"\x30",
        b"\x30\x80\x00\x00",
        b"\x30\x83\x00\x00\x03abc",
        b"\x30\x82\x02",
        b"\x7f\x21",
        LONG[:-1],
        LONG + b"\n",
        LONG + SHORT[:-1],
        LARGEST[:3] + b"\xfd" + LARGEST[4:] + b"\x00",
        pem(LONG, "PRIVATE KEY"),
        pem(b""),
        pem(LONG[:-1]),
        pem(LONG).replace(b"A", b"A=", 1),
    ],
)
def test_what_is_no_certificate(raw: bytes) -> None:
    with pytest.raises(SchemaError, match="the file"):
        certificates_of(raw, "the file")


def written(folder: Path, *contents: bytes) -> tuple[Path, ...]:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.crt")
        paths[-1].write_bytes(content)
    return tuple(paths)


def test_files_in_their_order(tmp_path: Path) -> None:
    files = written(tmp_path, pem(LONG), SHORT + MIDDLE)
    expected = Attestation("yubico-piv", (LONG, SHORT, MIDDLE))
    assert read_attestation(files, "yubico-piv") == expected
    assert read_attestation((), None) is None


@pytest.mark.case("X604", "attestation without its kind, kind without files, five certificates")
def test_attestations_on_the_command_line(tmp_path: Path) -> None:
    files = written(tmp_path, SHORT, MIDDLE, LONG, CVC)
    assert read_attestation(files, "yubihsm") is not None
    for chosen, kind in ((files, None), ((), "yubihsm")):
        with pytest.raises(UsageError, match="together"):
            read_attestation(chosen, kind)
    with pytest.raises(UsageError, match="5 certificates"):
        read_attestation((*files, files[0]), "yubihsm")
    with pytest.raises(InputError, match="no such file"):
        read_attestation((tmp_path / "absent",), "yubihsm")
