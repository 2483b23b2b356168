"""Property 25: a secret stands in the file it was put in, and nowhere else.

The whole job is done with known secrets while everything that leaves a process is watched: output,
logs, journals, files, command lines, environments.
"""

import asyncio
import base64
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.errors import SignerError
from signer.messages.address import ExecutionAddress
from signer.messages.request import SignRequest
from signer.testing.pool import TEST_ADDRESS, TEST_MNEMONIC, Pool
from signer.testing.softhsm import SO_PIN, USER_PIN

KEY = bytes.fromhex("068dce0c90cb428ab37a74af0191eac49648035f1aaef077734b91e05985ec55")  # m/…/0/0
PASSWORD = "correct-horse-battery"
PASSPHRASE = "a-thirteenth-word"
WRONG_PIN = "wrong-pin-4711"

_OPEN_SHARE = """
import sys
from pathlib import Path
from signer.custody.desk import read_group
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.hsm.profile import load_profile
from signer.custody.worker.desk_token import session_on
from signer.hsm.keys import receiving_key
from signer.sealing.envelope import Envelope
from signer.sealing.share import unseal_share
group, path, label, pin = sys.argv[1:]
envelope = Envelope.parse(Path(path).read_bytes())
binding = read_group(Path(group)).binding(envelope.binding.index)
choice = TokenChoice(profile=load_profile("softhsm2"), label=label)
with session_on(choice, SecretSource(file=pin)) as session:
    key = receiving_key(session)
    with unseal_share(envelope, binding, key.public_point, key.unlock) as share:
        print(share.expose().hex())
"""


class Watch:
    """Reads command lines and environments of all of this program's processes, all the time."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.workers: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(0.003):
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    line = (place / "cmdline").read_bytes()
                    if b"signer" not in line or b"-m" not in line:
                        continue
                    self.seen.add(line)
                    if b"signer.custody.worker" in line:
                        self.workers.add(place.name)
                    self.seen.add((place / "environ").read_bytes())
                except OSError:
                    continue

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def keystore() -> str:
    """Return an EIP-2335 keystore of KEY."""
    salt, iv = bytes(range(32)), bytes(range(16))
    derived = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=1024, r=8, p=1, dklen=32)
    encryptor = Cipher(algorithms.AES(derived[:16]), modes.CTR(iv)).encryptor()
    message = encryptor.update(KEY)
    params = {"dklen": 32, "n": 1024, "r": 8, "p": 1, "salt": salt.hex()}
    checksum = hashlib.sha256(derived[16:] + message).hexdigest()
    crypto = {
        "kdf": {"function": "scrypt", "params": params, "message": ""},
        "checksum": {"function": "sha256", "params": {}, "message": checksum},
        "cipher": {
            "function": "aes-128-ctr", "params": {"iv": iv.hex()}, "message": message.hex(),
        },
    }  # fmt: skip
    return json.dumps(
        {"crypto": crypto, "path": "m/12381/3600/0/0", "version": 4, "description": "",
         "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f"}
    )  # fmt: skip


def spellings(secret: bytes) -> Iterator[bytes]:
    """Yield the forms in which 32 secret bytes could stand somewhere."""
    for raw in (secret, secret[::-1]):
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield raw[:12].hex().encode()
        yield raw[16:]
        yield base64.b64encode(raw)[:40]
        yield base64.urlsafe_b64encode(raw)[:40]
        yield repr(raw)[2:-1].encode()
        yield str(int.from_bytes(raw)).encode()


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def test_secrets_stand_where_they_were_put_and_nowhere_else(
    softhsm_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    run = Pool.run

    def recorded(self: Pool, *arguments: str | Path, **options: object) -> object:
        done = run(self, *arguments, **options)  # type: ignore[arg-type]
        said.extend((done.stdout, done.stderr))
        return done

    monkeypatch.setattr(Pool, "run", recorded)
    with Watch() as watch:
        pool = Pool.with_tokens(tmp_path / "p", ["Ada", "Ben", "Cy"])
        pool.write_policy()
        password = private(pool.folder / "password", PASSWORD)
        passphrase = private(pool.folder / "passphrase", PASSPHRASE)
        store = pool.folder / "keystore.json"
        store.write_text(keystore())
        with pool:
            _work(pool, store, password, passphrase)
    share = subprocess.run(
        [sys.executable, "-c", _OPEN_SHARE, pool.group, pool.holders[0].envelope, "holder-1",
         pool.holders[0].token.pin_file],
        env=pool.holders[0].token.environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    needles = {
        USER_PIN.encode(), SO_PIN.encode(), PASSWORD.encode(), PASSPHRASE.encode(),
        WRONG_PIN.encode(), b"abandon abandon", TEST_MNEMONIC[-14:].encode(),
        *spellings(KEY), *spellings(bytes.fromhex(share)),
    }  # fmt: skip
    assert len(bytes.fromhex(share)) == 32
    assert len(watch.workers) >= 10
    places = [text.encode() for text in said] + list(watch.seen)
    mine = {password, passphrase, pool.folder / "mnemonic"}
    mine |= {holder.token.pin_file for holder in pool.holders}
    files = [path for path in pool.folder.rglob("*") if path.is_file() and path not in mine]
    assert {"journal.jsonl", "agent.log", "group.json", "signed"} <= {
        "signed" if path.name.startswith("bls_to_execution") else path.name for path in files
    }
    places += [path.read_bytes() for path in files]
    assert any(b"E_PIN_REFUSED" in place for place in places)
    for place in places:
        for needle in needles:
            assert needle not in place, place[:200]
    # The search would find them: each stands in the file it was put in.
    put = b"".join(path.read_bytes() for path in mine)
    for word in (USER_PIN, PASSWORD, PASSPHRASE, "abandon abandon", TEST_MNEMONIC[-14:]):
        assert word.encode() in put


def _work(pool: Pool, store: Path, password: Path, passphrase: Path) -> None:
    """Do the whole job, with what goes wrong on the way."""
    pool.split(2)
    out = pool.folder / "group-2"
    cards = [part for holder in pool.holders for part in ("--card", holder.card)]
    common = (*cards, "--threshold", "2", "--policy", pool.policy, "--network", "mainnet")
    pool.run("group", "split", *common, "--keystore", store, "--password-file", password,
             "--out", out)  # fmt: skip
    pool.run("group", "split", *common, "--mnemonic-file", pool.folder / "mnemonic",
             "--passphrase-file", passphrase, "--out", pool.folder / "group-3")  # fmt: skip
    wrong = private(pool.folder / "wrong", "abandon abandon zoo")
    pool.run("group", "split", *common, "--mnemonic-file", wrong,
             "--out", pool.folder / "group-4", expect=None)  # fmt: skip
    wrong.unlink()
    pool.run("group", "split", *common, "--keystore", store, "--password-file",
             pool.folder / "mnemonic", "--out", pool.folder / "group-5", expect=None)  # fmt: skip
    first = pool.holders[0]
    for holder in pool.holders:
        pool.run("share", "verify", "--group", pool.group, "--envelope", holder.envelope,
                 *holder.token_options, holder=holder)  # fmt: skip
    right = first.token.pin_file.read_text()
    first.token.pin_file.write_text(WRONG_PIN + "\n")
    pool.run("share", "verify", "--group", pool.group, "--envelope", first.envelope,
             *first.token_options, holder=first, expect=7)  # fmt: skip
    pool.start()
    request = SignRequest.new(
        read_group(pool.group),
        [(1, ExecutionAddress.parse(TEST_ADDRESS))],
        expires=int(time.time()) + 60,
    )
    with pytest.raises(SignerError, match="PIN"):
        asyncio.run(AgentClient(first.socket).sign(request, seconds=20))
    first.token.pin_file.write_text(right)
    pool.sign(pool.request([1, 2, 3]), pool.folder / "out", "--work", pool.folder / "work")
