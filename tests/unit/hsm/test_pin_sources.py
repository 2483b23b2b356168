"""PINs out of pipes, descriptors, systemd's credentials and pinentry."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from signer.errors import PinError
from signer.hsm import pin, pinentry
from signer.hsm.pin import PinCredential, PinDescriptor, PinFile, PinPad, PinPipe
from signer.hsm.pinentry import PinEntry
from signer.secret import SecretBytes


def text(secret: SecretBytes) -> bytes:
    with secret:
        return secret.expose().tobytes()


def test_a_pipe_is_read_to_its_end_once() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"12")
    os.write(write_end, b"34\n")
    os.close(write_end)
    assert text(PinPipe(read_end).read("t")) == b"1234"
    with pytest.raises(PinError, match="empty"):
        PinPipe(read_end).read("t")
    os.close(read_end)


@pytest.mark.case("T2", "PIN through a pipe: empty, 300 bytes, with a NUL; a closed descriptor")
@pytest.mark.parametrize("data", [b"", b"\n", b"x" * 300, b"1\x002"])
def test_a_bad_pin_in_a_pipe(data: bytes) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    with pytest.raises(PinError):
        PinPipe(read_end).read("t")
    os.close(read_end)
    with pytest.raises(PinError, match="descriptor"):
        PinPipe(read_end).read("t")


def test_a_descriptor_is_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_text("1234\n")
    with path.open("rb") as file:
        source = PinDescriptor(file.fileno())
        assert [text(source.read("t")) for _ in range(3)] == [b"1234"] * 3
    read_end, write_end = os.pipe()
    with pytest.raises(PinError, match="illegal seek") as caught:
        PinDescriptor(read_end).read("t")
    assert caught.value.exit_status == 7
    os.close(read_end)
    os.close(write_end)


def credential(folder: Path, mode: int = 0o440, folder_mode: int = 0o700) -> PinCredential:
    folder.mkdir(mode=0o700)
    path = folder / "pin"
    path.write_text("1234")
    path.chmod(mode)
    folder.chmod(folder_mode)
    return PinCredential(path)


def test_a_credential_may_be_as_systemd_makes_it(tmp_path: Path) -> None:
    assert text(credential(tmp_path / "c").read("t")) == b"1234"
    assert text(credential(tmp_path / "d", 0o400, 0o550).read("t")) == b"1234"


@pytest.mark.case("X304", "credential in a folder of others', or that others may read")
@pytest.mark.parametrize(("mode", "folder"), [(0o440, 0o770), (0o440, 0o755), (0o444, 0o700)])
def test_a_credential_that_is_not_private(tmp_path: Path, mode: int, folder: int) -> None:
    with pytest.raises(PinError) as caught:
        credential(tmp_path / "c", mode, folder).read("t")
    assert caught.value.code == "E_SECRET_FILE"
    with pytest.raises(PinError):
        PinCredential(tmp_path / "none" / "pin").read("t")


def test_a_pad_gives_nothing_away() -> None:
    with pytest.raises(PinError, match="typed on the device"):
        PinPad().read("t")


def test_the_buffer_is_wiped_whatever_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped: list[bytes] = []
    module: Any = pin
    real = module.wipe_buffer

    def watch(buffer: bytearray) -> None:
        wiped.append(bytes(buffer))
        real(buffer)
        assert not any(buffer)

    monkeypatch.setattr(module, "wipe_buffer", watch)
    path = tmp_path / "pin"
    path.write_text("1234")
    path.chmod(0o600)
    PinFile(path).read("t").wipe()
    path.write_bytes(b"12\x0034")
    with pytest.raises(PinError):
        PinFile(path).read("t")
    read_end, write_end = os.pipe()
    os.write(write_end, b"5678")
    os.close(write_end)
    PinPipe(read_end).read("t").wipe()
    os.close(read_end)
    assert [entry.rstrip(b"\0") for entry in wiped] == [b"1234", b"12\x0034", b"5678"]


# pinentry


def program(folder: Path, answer: str) -> PinEntry:
    """A pinentry that greets, says OK to everything, and answers GETPIN so."""
    path = folder / "pinentry"
    path.write_text(
        f"#!{sys.executable}\nimport sys, time, os\nprint('OK hello', flush=True)\n"
        f"log = open({str(folder / 'log')!r}, 'w')\n"
        "log.write(repr(sorted(os.environ)) + '\\n')\n"
        "for line in sys.stdin:\n    log.write(line); log.flush()\n"
        f"    if line.startswith('GETPIN'):\n        {answer}\n        sys.stdout.flush()\n"
        "    else:\n        print('OK', flush=True)\n"
    )
    path.chmod(stat.S_IRWXU)
    return PinEntry(path, {"GPG_TTY": "/dev/pts/9"})


def test_pinentry_is_asked(tmp_path: Path) -> None:
    source = program(tmp_path, "print('S x'); print('D 12%2534%0A5'); print('OK')")
    assert text(source.read("token 'desk' 100%\n\x1b")) == b"12%34\n5"
    log = (tmp_path / "log").read_text()
    assert "SETDESC PIN of token 'desk' 100%25??" in log
    assert "OPTION ttyname=/dev/pts/9" in log
    assert "GPG_TTY" in log
    assert "HOME" not in log


@pytest.mark.case("X305", "pinentry: cancelled, nothing typed, garbage, ends early, long line")
@pytest.mark.parametrize(
    "answer",
    [
        "print('ERR 83886179 cancelled')", "print('OK')", "print('D ')\n        print('OK')",
        "sys.exit(0)", "print('D ' + 'x' * 3000)", "print('D %zz')\n        print('OK')",
    ],
)  # fmt: skip
def test_a_pinentry_that_gives_nothing(tmp_path: Path, answer: str) -> None:
    with pytest.raises(PinError):
        program(tmp_path, answer).read("t")


def test_a_pinentry_that_hangs_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinentry, "_SECONDS", 0.5)
    with pytest.raises(PinError, match="in time"):
        program(tmp_path, "time.sleep(60)").read("t")


def test_a_pinentry_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PinError, match="no such file"):
        PinEntry(tmp_path / "absent", {}).read("t")
