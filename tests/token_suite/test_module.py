"""Loading a PKCS#11 module, and what is refused instead."""

import dataclasses
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import _pkcs11

from signer.errors import ModuleError, TokenNotFoundError
from signer.hsm import module as module_file
from signer.hsm.discovery import TokenSelector, find_token, list_tokens
from signer.hsm.module import load_module, locate_module
from signer.hsm.profile_facts import ModulePlace
from tests.conftest import unavailable
from tests.modules import nss, p11_kit

pytestmark = pytest.mark.softhsm

P11_KIT_CLIENT = p11_kit.MODULE


def require(path: Path) -> None:
    if not path.exists():
        unavailable(f"{path.name} is not installed")


def refused(path: Path, words: str) -> ModuleError:
    with pytest.raises(ModuleError, match=words) as caught:
        load_module(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.line()
    return caught.value


def test_load_finalise_and_load_again(softhsm: Any) -> None:
    softhsm.add_token("desk")
    for _ in range(3):
        with softhsm.load() as module:
            assert "desk" in [token.label for token in list_tokens(module)]


@pytest.mark.case("X170", "module that this process uses already")
def test_loaded_twice(softhsm: Any) -> None:
    with softhsm.load():
        refused(softhsm.module, "uses it already")
    with softhsm.load():
        pass


@pytest.mark.case("T8", "module: missing, a directory, a relative path, not ELF, empty")
def test_no_module(softhsm: Any, tmp_path: Path) -> None:
    refused(tmp_path / "absent.so", "no such file")
    refused(tmp_path, "not a file")
    refused(Path("libsofthsm2.so"), "absolute path")
    for name, data in (
        ("script.so", b"#!/bin/sh\necho hello from a script that is no library\n"),
        ("empty.so", b""),
    ):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, "not a shared library")


def end_of_last_segment(elf: bytes) -> int:
    """Return how many bytes of a 64-bit ELF file are mapped; section headers follow."""
    (start,) = struct.unpack_from("<Q", elf, 32)
    (count,) = struct.unpack_from("<H", elf, 56)
    headers = [struct.unpack_from("<IIQQQQ", elf, start + 56 * number) for number in range(count)]
    return int(max(header[2] + header[5] for header in headers if header[0] == 1))


@pytest.mark.case("T8", "module: truncated at every 1/8, which would kill the process in dlopen")
def test_truncated(softhsm: Any, tmp_path: Path) -> None:
    whole = softhsm.module.read_bytes()
    sizes = [len(whole) * eighth // 8 for eighth in range(1, 8)]
    for number in (*sizes, 40, 64, 100, end_of_last_segment(whole) - 1):
        (tmp_path / "half.so").write_bytes(whole[:number])
        refused(tmp_path / "half.so", "cut short|not a shared library")


@pytest.mark.case("T8", "module: a whole ELF file whose contents are not")
def test_garbled(softhsm: Any, tmp_path: Path) -> None:
    whole = bytearray(softhsm.module.read_bytes())
    whole[16:18] = b"\x01\x00"  # ET_REL: an object file
    (tmp_path / "object.so").write_bytes(whole)
    refused(tmp_path / "object.so", "cannot be loaded")
    whole[54:56] = b"\x00\x00"  # program headers of no size
    (tmp_path / "object.so").write_bytes(whole)
    refused(tmp_path / "object.so", "not a shared library")


@pytest.mark.case("T8", "module: a shared library without PKCS#11 in it")
def test_other_library() -> None:
    refused(Path(_pkcs11.__file__), "no PKCS#11 module")


@pytest.mark.case("T8", "module: for another processor, another word size")
@pytest.mark.parametrize(("offset", "value"), [(18, b"\xf3\x00"), (4, b"\x01")])
def test_other_architecture(softhsm: Any, offset: int, value: bytes) -> None:
    data = bytearray(softhsm.module.read_bytes())
    data[offset : offset + len(value)] = value
    softhsm.module.write_bytes(data)
    refused(softhsm.module, "another processor architecture")


@pytest.mark.case("T8", "module: world-writable")
def test_world_writable(softhsm: Any) -> None:
    softhsm.module.chmod(0o757)
    refused(softhsm.module, "anybody can change it")


@pytest.mark.case("X171", "module whose configuration is missing")
def test_cannot_initialise(softhsm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(softhsm.folder / "absent.conf"))
    assert "environment" in refused(softhsm.module, "cannot be initialised").hint
    monkeypatch.setenv("SOFTHSM2_CONF", str(softhsm.folder / "softhsm2.conf"))
    with softhsm.load():
        pass


@pytest.mark.case("X172", "p11-kit's client without its server: a module without tokens")
def test_p11_kit_client_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    require(P11_KIT_CLIENT)
    for address in (None, "unix:path=/nonexistent/socket"):
        monkeypatch.delenv("P11_KIT_SERVER_ADDRESS", raising=False)
        if address is not None:
            monkeypatch.setenv("P11_KIT_SERVER_ADDRESS", address)
        with load_module(P11_KIT_CLIENT) as module, pytest.raises(TokenNotFoundError):
            find_token(module, TokenSelector("remote"))


@pytest.mark.case("X890", "NSS without the text that names its folder, or with one that names none")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be initialised"),
        ("", "cannot be initialised"),
        ("flags=readOnly", "NSS_LIB_PARAMS names no configdir"),
        ("configdir='sql:/nonexistent' flags=", "cannot be initialised"),
    ],
)
def test_nss_without_a_folder(
    monkeypatch: pytest.MonkeyPatch, text: str | None, words: str
) -> None:
    require(nss.MODULE)
    monkeypatch.delenv("NSS_LIB_PARAMS", raising=False)
    if text is not None:
        monkeypatch.setenv("NSS_LIB_PARAMS", text)
    error = refused(nss.MODULE, words)
    assert error.code == "E_MODULE"


@pytest.mark.case("X891", "text for NSS in the environment of a module that wants none: not given")
def test_the_text_is_for_nss_alone(softhsm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSS_LIB_PARAMS", "configdir='sql:/nonexistent'")
    softhsm.add_token("desk")
    with softhsm.load() as module:
        assert find_token(module, TokenSelector("desk")).label == "desk"


@pytest.mark.case("X892", "p11-kit with a python-pkcs11 whose objects are laid out otherwise")
def test_the_wrappers_list_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    require(P11_KIT_CLIENT)
    monkeypatch.setattr(module_file, "_POINTERS", 4)
    refused(P11_KIT_CLIENT, "p11-kit is not usable")


def test_locate(softhsm: Any) -> None:
    absent = ModulePlace(softhsm.folder / "absent.so", "nobody")
    there = ModulePlace(softhsm.module, "us")
    profile = dataclasses.replace(softhsm.profile, modules=(absent, there))
    assert locate_module(profile) == softhsm.module
    with pytest.raises(ModuleError, match="not installed"):
        locate_module(dataclasses.replace(profile, modules=(absent,)))
    with pytest.raises(ModuleError, match="knows no place") as caught:
        locate_module(dataclasses.replace(profile, modules=()))
    assert "--module" in caught.value.hint


THREADS = """
import sys, threading
from pathlib import Path
from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.keys import IdentityKey, ReceivingKey, ensure_keys, identity_key, receiving_key
from signer.hsm.module import load_module
from signer.hsm.pin import PinFile
from signer.hsm.profile import load_profile
from signer.hsm.session import TokenSession, open_session

done = []
with load_module(Path(sys.argv[1])) as module:
    token = find_token(module, TokenSelector("desk"))
    with open_session(module, token, load_profile("softhsm2"), PinFile(Path(sys.argv[2]))) as first:
        ensure_keys(first)

        def work():
            for _ in range(60):
                with first.writable() as session:
                    mine = TokenSession(module, token, first.profile, session)
                    kex, sign = receiving_key(mine), identity_key(mine)
                    for _ in range(8):
                        kex.ecdh(sign.public_point).wipe()
                        sign.sign(b"message")
            done.append(True)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
sys.exit(len(done) != 2)
"""


def test_two_threads_survive(softhsm: Any) -> None:
    """2,000 operations and 120 sessions in two threads.

    With the wrapper's own `C_Initialize(NULL)` SoftHSM crashed (SIGSEGV or SIGABRT) within two
    seconds in six of six runs. In a process of its own, so that a crash is a failure with a name.
    """
    softhsm.add_token("desk")
    run = subprocess.run(
        [sys.executable, "-c", THREADS, str(softhsm.module), str(softhsm.pin_file().path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_left_open_it_is_finalised_at_exit(softhsm: Any) -> None:
    softhsm.add_token("desk")
    script = (
        "import sys; from pathlib import Path; from signer.hsm.module import load_module, Module\n"
        "def close(self, real=Module.close): real(self); print('finalised')\n"
        "Module.close = close\n"
        "module = load_module(Path(sys.argv[1]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(softhsm.module)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "finalised\n", "")


def test_a_second_session_costs_its_opening_and_no_other_call(
    fake_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_desk.open() as session:

        def asked() -> None:
            raise AssertionError("the token was asked what it is")

        monkeypatch.setattr(fake_desk.module, "get_token", asked)
        with session.writable():
            assert fake_desk.module.open_sessions == 2
        assert fake_desk.module.open_sessions == 1
