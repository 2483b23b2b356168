"""pinentry as a whole: owners of a credential, what the program gets to see, what stays behind."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from signer.custody.jobs.sources import SecretSource
from signer.custody.pin_pipe import pin_pipe
from signer.errors import PinError
from signer.hsm import pinentry
from signer.hsm.pin import PinCredential
from signer.hsm.pinentry import PinEntry
from signer.secret import SecretBytes

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def text(secret: SecretBytes) -> bytes:
    with secret:
        return secret.expose().tobytes()


def program(folder: Path, getpin: str) -> Path:
    """A pinentry that writes down what it is given, and answers GETPIN with these lines."""
    path = folder / "pinentry"
    path.write_text(
        f"#!{sys.executable}\nimport sys, os\n"
        f"log = open({str(folder / 'log')!r}, 'w')\n"
        "print(sys.argv[1:], sorted(os.environ), os.listdir('/proc/self/fd'), file=log)\n"
        "print('OK', flush=True)\n"
        "for line in sys.stdin:\n"
        "    print(line, end='', file=log, flush=True)\n"
        f"    print({getpin!r} if line == 'GETPIN\\n' else 'OK', flush=True)\n"
    )
    path.chmod(stat.S_IRWXU)
    return path


def test_the_data_may_come_in_several_lines(tmp_path: Path) -> None:
    source = PinEntry(program(tmp_path, "D 12%25\nS PASSWORD\nD 34\nOK"), {})
    assert text(source.read("t")) == b"12%34"


@pytest.mark.case("X308", "pinentry: data without end, percent sign without digits")
@pytest.mark.parametrize(
    "getpin", ["\n".join(["D " + "x" * 900] * 3) + "\nOK", "D 12%\nOK", "D 12%2\nOK", "D %g0\nOK"]
)
def test_data_that_is_not_the_protocols(tmp_path: Path, getpin: str) -> None:
    with pytest.raises(PinError, match="not its protocol's") as caught:
        PinEntry(program(tmp_path, getpin), {}).read("t")
    assert caught.value.exit_status == 7


@pytest.mark.case("T3", "pinentry: nothing of ours in its argv, environment, descriptors")
def test_the_program_gets_nothing_but_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNER_PIN", "987654")
    with Path("/dev/null").open("rb") as null:
        secret = os.dup2(null.fileno(), 77)  # inheritable
    try:
        source = PinEntry(program(tmp_path, "D 987654\nOK"), {"GPG_TTY": "/dev/pts/9"})
        assert text(source.read("token 'desk'")) == b"987654"
    finally:
        os.close(secret)
    log = (tmp_path / "log").read_text()
    first = log.splitlines()[0]
    assert first.startswith("[] [")
    assert "GPG_TTY" in first
    assert "SIGNER_PIN" not in first
    assert "'0'" in first
    assert "'77'" not in first
    assert "987654" not in log


def test_the_answer_is_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: list[bytes] = []
    module: Any = pinentry
    real = module.wipe_buffer

    def watch(buffer: bytearray) -> None:
        wiped.append(bytes(buffer))
        real(buffer)
        assert not any(buffer)

    monkeypatch.setattr(module, "wipe_buffer", watch)
    source = PinEntry(program(tmp_path, "D 987654\nERR 83886179 cancelled"), {})
    with pytest.raises(PinError) as caught:
        source.read("t")
    assert caught.value.code == "E_PIN_EMPTY"
    assert len(wiped) == 1
    assert b"987654" not in wiped[0]  # each line is written over the one before
    assert text(PinEntry(program(tmp_path, "D 98765432\nOK"), {}).read("t")) == b"98765432"
    assert b"765432" in wiped[1]  # but not to its end


def test_a_worker_asks_by_pinentry_and_we_only_hold_the_pipe(tmp_path: Path) -> None:
    source = SecretSource(pinentry=str(program(tmp_path, "D 98%2576\nOK")))
    with pin_pipe(source, "token 'desk'") as read_end:
        assert os.read(read_end, 100) == b"98%76"
        assert os.read(read_end, 100) == b""


@pytest.mark.case("X305", "pinentry closed by the person: the worker says so, nothing hangs")
def test_a_person_who_closes_it(tmp_path: Path) -> None:
    source = SecretSource(pinentry=str(program(tmp_path, "ERR 83886179 cancelled")))
    with pytest.raises(PinError, match="closed") as caught, pin_pipe(source, "token 'desk'"):
        pytest.fail("there is no PIN")
    assert caught.value.exit_status == 7


# A credential's owner


def credential(folder: Path) -> PinCredential:
    folder.mkdir(mode=0o700)
    path = folder / "pin"
    path.write_text("1234")
    path.chmod(0o440)
    return PinCredential(path)


@as_root
def test_a_credential_may_be_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = credential(tmp_path / "c")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert text(source.read("t")) == b"1234"


@as_root
@pytest.mark.case("X304", "credential, or its folder, of a third user; a link in the folder")
def test_a_credential_of_somebody_else(tmp_path: Path) -> None:
    theirs = credential(tmp_path / "file")
    os.chown(theirs.path, 12345, -1)
    in_theirs = credential(tmp_path / "folder")
    os.chown(in_theirs.path.parent, 12345, -1)
    linked = credential(tmp_path / "link")
    linked.path.rename(tmp_path / "elsewhere")
    linked.path.symlink_to(tmp_path / "elsewhere")
    for source, words in ((theirs, "another user"), (in_theirs, "systemd"), (linked, "symbolic")):
        with pytest.raises(PinError, match=words) as caught:
            source.read("t")
        assert caught.value.code == "E_SECRET_FILE"
