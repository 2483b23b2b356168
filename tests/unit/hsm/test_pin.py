import contextlib
import os
import pty
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from signer.errors import InputError, PinError, SecretFileError
from signer.hsm.pin import PinFile, PinPrompt, prompt_secret, read_secret_file
from signer.secret import SecretBytes


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, mode: int = 0o600) -> Path:
        path = tmp_path / "secret"
        path.write_bytes(data)
        path.chmod(mode)
        return path

    return write


def text(secret: SecretBytes) -> bytes:
    with secret:
        return secret.expose().tobytes()


@pytest.mark.parametrize(
    ("data", "pin"),
    [
        (b"1234", b"1234"),
        (b"1234\n", b"1234"),
        (b"1234\r\n", b"1234"),
        (b"1234\n\n", b"1234\n"),
        ("pässwörd\n".encode(), "pässwörd".encode()),
        (b" 12 34 \n", b" 12 34 "),
        (b"x" * 256, b"x" * 256),
        (b"x" * 256 + b"\r\n", b"x" * 256),
    ],
)
@pytest.mark.case("T2", "PIN file: trailing newline, UTF-8, blanks are kept as they are")
def test_pin_file(write: Callable[..., Path], data: bytes, pin: bytes) -> None:
    assert text(PinFile(write(data)).read("token")) == pin


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_modes_that_are_private(write: Callable[..., Path], mode: int) -> None:
    assert text(read_secret_file(write(b"word", mode))) == b"word"


@pytest.mark.case("T2", "PIN file: empty, or only a newline")
@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n"])
def test_empty(write: Callable[..., Path], data: bytes) -> None:
    with pytest.raises(PinError) as caught:
        PinFile(write(data)).read("token")
    assert caught.value.code == "E_PIN_EMPTY"
    with pytest.raises(SecretFileError, match="empty"):
        read_secret_file(write(data))


@pytest.mark.case("T2", "PIN file: 257 and 300 characters, NUL")
@pytest.mark.parametrize("data", [b"x" * 257, b"x" * 300, b"x" * 5_000_000, b"12\x0034", b"\x00"])
def test_pin_file_content_refused(write: Callable[..., Path], data: bytes) -> None:
    with pytest.raises(PinError, match=r"longer than 256 bytes|NUL") as caught:
        PinFile(write(data)).read("token")
    assert "xxx" not in caught.value.line()
    assert (caught.value.code, caught.value.exit_status) == ("E_SECRET_FILE", 7)


def test_limit_is_an_argument(write: Callable[..., Path]) -> None:
    path = write(b"x" * 20)
    assert len(read_secret_file(path, max_bytes=20)) == 20
    with pytest.raises(SecretFileError, match=r"mnemonic file .*longer than 19"):
        read_secret_file(path, what="mnemonic file", max_bytes=19)


@pytest.mark.case("F17", "secret file: readable or writable by others")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o610, 0o777])
def test_open_to_others(write: Callable[..., Path], mode: int) -> None:
    with pytest.raises(SecretFileError, match="open to others") as caught:
        read_secret_file(write(b"word", mode))
    assert "chmod 600" in caught.value.hint


@pytest.mark.case("F17", "secret file: a symlink, dangling or not")
def test_symlink(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(write(b"word"))
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("link", "dangling"):
        with pytest.raises(SecretFileError, match="symbolic link"):
            read_secret_file(tmp_path / name)


@pytest.mark.case("F17", "secret file: a FIFO (must not hang), a directory, a device, absent")
def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for path in (tmp_path / "fifo", tmp_path / "folder", Path("/dev/null")):
        with pytest.raises(SecretFileError, match="not a regular file"):
            read_secret_file(path)
    with pytest.raises(SecretFileError, match="no such file"):
        read_secret_file(tmp_path / "absent")


@pytest.mark.case("F17", "secret file: of another owner")
def test_other_owner(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(b"word")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(SecretFileError, match="another user"):
        read_secret_file(path)


@pytest.mark.case("F18", "secret file: swapped between the look and the read")
def test_judged_by_what_was_opened(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(b"mine")
    real_open = os.open

    def open_then_swap(name: Path, flags: int) -> int:
        descriptor = real_open(name, flags)
        (tmp_path / "other").write_bytes(b"planted")
        (tmp_path / "other").replace(path)
        return descriptor

    monkeypatch.setattr(os, "open", open_then_swap)
    assert text(read_secret_file(path)) == b"mine"


@pytest.mark.parametrize("data", [b"word", b"x" * 300, b"a\x00b"])
def test_no_descriptor_is_left_open(write: Callable[..., Path], data: bytes) -> None:
    path = write(data)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with contextlib.suppress(PinError):
            PinFile(path).read("token").wipe()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Terminal:
    """A person at a terminal: types once the prompt stands there."""

    def __init__(self) -> None:
        self.keyboard, self.descriptor = pty.openpty()

    def type_after_prompt(self, typed: bytes) -> None:
        def person() -> None:
            self.shown = os.read(self.keyboard, 200)
            self.echo_at_prompt = self.echo()
            os.write(self.keyboard, typed)

        self.person = threading.Thread(target=person)
        self.person.start()

    def screen(self) -> bytes:
        self.person.join(5)
        os.set_blocking(self.keyboard, False)
        return self.shown + os.read(self.keyboard, 1000)

    def echo(self) -> bool:
        return bool(termios.tcgetattr(self.descriptor)[3] & termios.ECHO)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    os.close(terminal.keyboard)
    os.close(terminal.descriptor)


def test_prompt(terminal: Terminal) -> None:
    terminal.type_after_prompt(b"12 34\n")
    assert text(PinPrompt(terminal.descriptor).read("token 'desk'")) == b"12 34"
    screen = terminal.screen()
    assert b"PIN of token 'desk': " in screen
    assert b"12 34" not in screen
    assert not terminal.echo_at_prompt
    assert terminal.echo()


@pytest.mark.case("T2", "typed PIN: empty, too long, end of input")
@pytest.mark.parametrize(
    ("typed", "code"), [(b"\n", "E_PIN_EMPTY"), (b"x" * 257 + b"\n", "E_PIN"), (b"\x04", "E_PIN")]
)
def test_prompt_refuses(terminal: Terminal, typed: bytes, code: str) -> None:
    terminal.type_after_prompt(typed)
    with pytest.raises(PinError) as caught:
        PinPrompt(terminal.descriptor).read("token")
    terminal.person.join(5)
    assert caught.value.code == code
    assert terminal.echo()


def test_longest_typed_pin(terminal: Terminal) -> None:
    terminal.type_after_prompt(b"x" * 256 + b"\n")
    assert len(PinPrompt(terminal.descriptor).read("token")) == 256
    terminal.person.join(5)


def test_an_empty_line_may_be_meant(terminal: Terminal) -> None:
    terminal.type_after_prompt(b"\n")
    assert len(prompt_secret(terminal.descriptor, "passphrase: ")) == 0
    terminal.person.join(5)


@pytest.mark.case("X163", "Ctrl-C at the PIN prompt: echo comes back")
def test_echo_is_restored_on_interrupt(terminal: Terminal) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            PinPrompt(terminal.descriptor).read("token")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert terminal.echo()


@pytest.mark.case("X163", "PIN prompt without a terminal")
def test_no_terminal() -> None:
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, b"1234\n")
        with pytest.raises(PinError, match="no terminal"):
            PinPrompt(read_end).read("token")
        with pytest.raises(InputError, match="no terminal"):
            prompt_secret(read_end, "word: ")
    finally:
        os.close(read_end)
        os.close(write_end)
