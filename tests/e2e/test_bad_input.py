"""What bad input gets on the command line: one line, a code, an exit status, and no file."""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signer.sealing.envelope import Envelope
from signer.sealing.share import seal_share
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.testing.pool import TEST_ADDRESS, TEST_MNEMONIC, Holder, Pool
from signer.testing.softhsm import SoftHSM, module_path
from tests.simulators.holders import make_card

pytestmark = pytest.mark.softhsm

Vectors = Callable[[str], Any]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Two of three, no agents."""
    folder = tmp_path_factory.mktemp("bad")
    with Pool.with_tokens(folder / "p", ("Ada", "Boris", "Chidi")) as pool:
        pool.write_policy()
        pool.split(2)
        yield pool


def refused(
    pool: Pool, code: str, status: int, *arguments: str | Path, holder: Holder | None = None
) -> str:
    """Run a command that must be refused; return its one line."""
    done = pool.run(*arguments, "--json", holder=holder, expect=status)
    assert json.loads(done.stdout)["error"]["code"] == code
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{code}: "), done.stderr
    return lines[0]


def secret(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_an_error_is_one_line_on_stderr_and_nothing_on_stdout(pool: Pool, tmp_path: Path) -> None:
    done = pool.run("request", "show", tmp_path / "none.json", expect=1)
    assert done.stdout == ""
    assert done.stderr.startswith("E_INPUT: ")
    assert len(done.stderr.splitlines()) == 1


# PINs and tokens


@pytest.mark.case("T1", "wrong PIN on the command line")
def test_a_wrong_pin_is_refused_and_not_shown(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[0]
    wrong = secret(tmp_path / "pin", "90871234\n")
    line = refused(pool, "E_PIN_REFUSED", 7, "token", "setup", "--token", "holder-1",
                   "--pin-file", wrong, holder=holder)  # fmt: skip
    assert "90871234" not in line
    assert "tried once" in line


@pytest.mark.case("T2", "PIN file empty, absent, open to others, a link, too long, with a NUL")
def test_pin_files_that_are_none_are_refused(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[0]
    link = tmp_path / "link"
    link.symlink_to(holder.token.pin_file)
    for file, code, status in (
        (secret(tmp_path / "empty", ""), "E_PIN_EMPTY", 7),
        (secret(tmp_path / "newline", "\n"), "E_PIN_EMPTY", 7),
        (secret(tmp_path / "short", "123"), "E_PIN_LENGTH", 7),
        (tmp_path / "absent", "E_SECRET_FILE", 7),
        (secret(tmp_path / "open", "demo-1234", 0o644), "E_SECRET_FILE", 7),
        (link, "E_SECRET_FILE", 7),
        (tmp_path, "E_SECRET_FILE", 7),
        (secret(tmp_path / "long", "1" * 300), "E_SECRET_FILE", 7),
        (secret(tmp_path / "nul", b"12\x0034"), "E_SECRET_FILE", 7),
    ):
        refused(pool, code, status, "token", "setup", "--token", "holder-1",
                "--pin-file", file, holder=holder)  # fmt: skip


@pytest.mark.case("T2", "no PIN file and no terminal")
def test_a_pin_that_nobody_can_give_is_missing(pool: Pool) -> None:
    line = refused(
        pool, "E_PIN", 7, "token", "setup", "--token", "holder-1", holder=pool.holders[0]
    )
    assert "--pin-file" in line


@pytest.mark.case("T3", "PIN in argv")
def test_there_is_no_option_for_a_pin(pool: Pool) -> None:
    holder = pool.holders[0]
    for option in ("--pin", "--user-pin", "--password", "--mnemonic-words"):
        done = pool.run("token", "setup", "--token", "holder-1", option, "1234",
                        holder=holder, expect=2)  # fmt: skip
        assert done.stderr.startswith("E_USAGE: No such option")


@pytest.mark.case("T4", "token absent; two tokens with one label")
def test_exactly_one_token_matches(pool: Pool, tmp_path: Path) -> None:
    pin = pool.holders[0].token.pin_file
    line = refused(pool, "E_TOKEN_ABSENT", 7, "token", "setup", "--token", "holder-9",
                   "--pin-file", pin, holder=pool.holders[0])  # fmt: skip
    assert "holder-1" in line
    twins = SoftHSM.create(tmp_path / "twins", "twin")
    twins.initialise("twin")
    holder = Holder(9, "Twin", tmp_path, twins)
    line = refused(pool, "E_TOKEN_AMBIGUOUS", 7, "token", "setup", "--token", "twin",
                   "--pin-file", twins.pin_file, holder=holder)  # fmt: skip
    serials = re.findall(r"[0-9a-f]{16}", line)
    assert len(serials) == 2
    pool.run("token", "setup", "--serial", serials[0], "--pin-file", twins.pin_file, holder=holder)


@pytest.mark.case("T6", "identity key imported instead of made on the token")
def test_a_key_from_outside_is_not_used(pool: Pool, tmp_path: Path) -> None:
    token = SoftHSM.create(tmp_path / "imported", "imported")
    pem = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-out", pem], check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["softhsm2-util", "--import", pem, "--token", "imported", "--label", "epoch-kex",
         "--id", "ab", "--pin", token.pin_file.read_text().strip()],
        env=token.environment, check=True, capture_output=True,
    )  # fmt: skip
    holder = Holder(9, "Importer", tmp_path, token)
    line = refused(pool, "E_PROVENANCE", 7, "token", "setup", *holder.token_options, holder=holder)
    assert "LOCAL" in line
    objects = pool.run("token", "list", "--json", holder=holder)
    assert json.loads(objects.stdout)["tokens"][0]["label"] == "imported"


_SWAP = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
library, label, point = sys.argv[1:]
with next(pkcs11.lib(library).get_tokens(token_label=label)).open(rw=True) as session:
    (old,) = session.get_objects({Attribute.LABEL: "epoch-kex"})
    key_id = old[Attribute.ID]
    old.destroy()
    session.create_object({
        Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC,
        Attribute.TOKEN: True, Attribute.PRIVATE: False, Attribute.LABEL: "epoch-kex",
        Attribute.ID: key_id, Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107"),
        Attribute.EC_POINT: bytes([4, 65]) + bytes.fromhex(point),
    })
"""


@pytest.mark.case("X14", "card for a receiving key whose public object was swapped without a PIN")
def test_no_card_shows_a_strangers_key(tmp_path: Path) -> None:
    with Pool.with_tokens(tmp_path / "p", ("Ada",)) as pool:
        (holder,) = pool.holders
        stranger = make_card("stranger").body.kex.hex()
        subprocess.run(
            [sys.executable, "-c", _SWAP, module_path(), "holder-1", stranger],
            env=holder.token.environment, check=True,
        )  # fmt: skip
        out = tmp_path / "card.json"
        refused(pool, "E_PROVENANCE", 7, "token", "card", *holder.token_options, "--name", "Ada",
                "--out", out, holder=holder)  # fmt: skip
        assert not out.exists()
        refused(pool, "E_PROVENANCE", 7, "token", "setup", *holder.token_options, holder=holder)


@pytest.mark.case("X11", "a token that no profile describes")
def test_an_unknown_token_is_told_what_works(pool: Pool) -> None:
    module = Path("/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-trust.so")
    assert module.exists(), "p11-kit-modules is missing; .ci/system-packages installs it"
    pin = pool.holders[0].token.pin_file
    line = refused(pool, "E_TOKEN_UNKNOWN", 7, "token", "setup", "--module", module,
                   "--token", "System Trust", "--pin-file", pin)  # fmt: skip
    assert "left unchanged" in line
    assert "softhsm2" in line


@pytest.mark.case("T8", "module path absent, not a library, a folder")
def test_modules_that_are_none_are_refused(pool: Pool, tmp_path: Path) -> None:
    for path in (tmp_path / "none.so", secret(tmp_path / "text.so", "hello"), tmp_path):
        refused(pool, "E_MODULE", 7, "token", "list", "--module", path)
    refused(pool, "E_PROFILE", 1, "token", "list", "--profile", "yubihsm9")


# Envelopes


def verify(pool: Pool, envelope: Path, *, by: int = 1, group: Path | None = None) -> list[Any]:
    holder = pool.holders[by - 1]
    return ["share", "verify", "--group", group or pool.group, "--envelope", envelope,
            *holder.token_options]  # fmt: skip


@pytest.mark.case("X12", "envelope of another token, index, epoch, group; altered; cut off")
def test_envelopes_that_do_not_belong_are_refused(pool: Pool, tmp_path: Path) -> None:
    mine, holder = pool.holders[0].envelope, pool.holders[0]
    value = json.loads(mine.read_text())

    def changed(name: str, **changes: Any) -> Path:
        path = tmp_path / f"{name}.json"
        path.write_bytes(canonical(value | changes))
        return path

    def slot(**changes: Any) -> list[Any]:
        return [value["slots"][0] | changes]

    flipped = f"{int(value['slots'][0]['ciphertext'][:2], 16) ^ 1:02x}"
    other = json.loads(pool.holders[1].envelope.read_text())
    for path, code, status in (
        (pool.holders[1].envelope, "E_TOKEN_KEY", 7),
        (changed("index", index=2), "E_ENVELOPE", 7),
        (changed("index9", index=9), "E_ENVELOPE", 7),
        (changed("epoch", epoch=2), "E_ENVELOPE", 7),
        (changed("group", group="00" * 32), "E_ENVELOPE", 7),
        (changed("share", public_share=other["public_share"]), "E_ENVELOPE", 7),
        (changed("role", role="validator"), "E_ENVELOPE", 7),
        (changed("policy", policy_digest="00" * 32), "E_ENVELOPE", 7),
        (
            changed("text", slots=slot(ciphertext=flipped + value["slots"][0]["ciphertext"][2:])),
            "E_UNSEAL",
            7,
        ),
        (changed("enc", slots=slot(enc=other["slots"][0]["enc"])), "E_UNSEAL", 7),
        (changed("unknown", extra=1), "E_SCHEMA", 1),
        (changed("version", version=1), "E_SCHEMA", 1),
        (changed("holders", holders="00" * 32), "E_ENVELOPE", 7),
        (secret(tmp_path / "cut", mine.read_bytes()[:200]), "E_SCHEMA", 1),
        (secret(tmp_path / "empty", ""), "E_SCHEMA", 1),
        (secret(tmp_path / "huge", b" " * 70_000), "E_INPUT", 1),
        (tmp_path / "absent", "E_INPUT", 1),
        (tmp_path, "E_INPUT", 1),
    ):
        refused(pool, code, status, *verify(pool, path), holder=holder)
    assert "opens" in pool.run(*verify(pool, mine), holder=holder).stdout


@pytest.mark.case("X12", "envelope with its binding rewritten to another share's")
def test_a_renamed_envelope_does_not_open(pool: Pool, tmp_path: Path) -> None:
    """Everything in clear is made right; the associated data is not."""
    mine = json.loads(pool.holders[0].envelope.read_text())
    other = json.loads(pool.holders[1].envelope.read_text())
    path = tmp_path / "renamed.json"
    path.write_bytes(canonical(other | {"slots": mine["slots"]}))
    refused(pool, "E_UNSEAL", 7, *verify(pool, path), holder=pool.holders[0])


@pytest.mark.case("F2", "group file cut off, altered, of another split")
def test_group_files_that_do_not_belong_are_refused(pool: Pool, tmp_path: Path) -> None:
    raw, holder = pool.group.read_bytes(), pool.holders[0]
    cut = secret(tmp_path / "cut", raw[: len(raw) // 2])
    refused(pool, "E_SCHEMA", 1, *verify(pool, holder.envelope, group=cut), holder=holder)
    value = json.loads(raw)
    vector = value["verification_vector"]
    altered = secret(
        tmp_path / "altered", canonical(value | {"verification_vector": [vector[0], vector[0]]})
    )
    refused(pool, "E_ENVELOPE", 7, *verify(pool, holder.envelope, group=altered), holder=holder)
    again = tmp_path / "again"
    split(pool, again)
    refused(
        pool, "E_ENVELOPE", 7, *verify(pool, holder.envelope, group=again / "group.json"),
        holder=holder,
    )  # fmt: skip


@pytest.mark.case("X20", "a wrong share, sealed under the right associated data")
def test_a_dealer_who_seals_a_wrong_share_is_found_out(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[0]
    right = Envelope.parse(holder.envelope.read_bytes())
    with SecretBytes(bytes(31) + b"\x07") as wrong:
        sealed = seal_share(wrong, right.binding, right.recipients, secrets.token_bytes)
    path = tmp_path / "wrong.json"
    path.write_bytes(sealed.to_bytes())
    refused(pool, "E_SHARE", 7, *verify(pool, path), holder=holder)


@pytest.mark.case("X16", "group file that shows another card for this share")
def test_a_group_file_with_another_card_is_noticed(pool: Pool, tmp_path: Path) -> None:
    value, holder = json.loads(pool.group.read_bytes()), pool.holders[0]
    value["holders"][0]["card"] = make_card("Ada").to_json()
    other = secret(tmp_path / "group.json", canonical(value))
    line = refused(
        pool, "E_ENVELOPE", 7, *verify(pool, holder.envelope, group=other), holder=holder
    )
    assert "'holders'" in line


# Splitting


def split_arguments(
    pool: Pool, out: Path, *, cards: list[Path] | None = None, threshold: int = 2,
    source: tuple[str | Path, ...] = (), network: tuple[str | Path, ...] = ("--network", "mainnet"),
    policy: Path | None = None,
) -> list[str | Path]:  # fmt: skip
    chosen = [holder.card for holder in pool.holders] if cards is None else cards
    return [
        "group", "split", *(part for card in chosen for part in ("--card", card)),
        "--threshold", str(threshold), "--policy", policy or pool.policy, *network,
        *(source or ("--mnemonic-file", pool.folder / "mnemonic")), "--out", out,
    ]  # fmt: skip


def split(pool: Pool, out: Path) -> None:
    pool.run(*split_arguments(pool, out))


@pytest.mark.case("P1", "t of 0, 1, n + 1, 65536 on the command line")
@pytest.mark.parametrize("threshold", [-1, 0, 1, 4, 65536])
def test_thresholds_out_of_range(pool: Pool, tmp_path: Path, threshold: int) -> None:
    out = tmp_path / "out"
    refused(pool, "E_THRESHOLD", 1, *split_arguments(pool, out, threshold=threshold))
    assert not out.exists()


@pytest.mark.case("P2", "101 holders; one holder")
def test_holders_out_of_range(pool: Pool, tmp_path: Path) -> None:
    cards = []
    for number in range(101):
        cards.append(tmp_path / f"card-{number}.json")
        cards[-1].write_bytes(canonical(make_card(f"holder {number}").to_json()))
    for chosen in (cards, cards[:1]):
        arguments = split_arguments(pool, tmp_path / "out", cards=chosen)
        refused(pool, "E_THRESHOLD", 1, *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.case("P4", "one card given twice; two holders of one name")
def test_one_card_for_two_holders(pool: Pool, tmp_path: Path) -> None:
    twice = [pool.holders[0].card, pool.holders[1].card, pool.holders[0].card]
    refused(pool, "E_GROUP_FILE", 1, *split_arguments(pool, tmp_path / "out", cards=twice))
    namesake = tmp_path / "namesake.json"
    namesake.write_bytes(canonical(make_card("Ada").to_json()))
    cards = [pool.holders[0].card, namesake]
    refused(pool, "E_GROUP_FILE", 1, *split_arguments(pool, tmp_path / "out", cards=cards))


@pytest.mark.case("F15", "card altered or cut off on the command line")
def test_cards_that_do_not_hold(pool: Pool, tmp_path: Path) -> None:
    raw = pool.holders[0].card.read_bytes()
    value = json.loads(raw)
    other = json.loads(pool.holders[1].card.read_text())
    mixed = value | {"signatures": other["signatures"]}
    for name, content, code in (
        ("cut", raw[:100], "E_SCHEMA"),
        ("mixed", canonical(mixed), "E_CARD"),
        ("group", pool.group.read_bytes(), "E_SCHEMA"),
    ):
        cards = [secret(tmp_path / name, content), pool.holders[1].card]
        refused(pool, code, 1, *split_arguments(pool, tmp_path / "out", cards=cards))


@pytest.mark.case("F24", "mnemonic with a wrong word, a wrong checksum, another length, none")
def test_mnemonics_that_are_none(pool: Pool, tmp_path: Path) -> None:
    words = TEST_MNEMONIC.split()
    for name, text, code in (
        ("word", " ".join([*words[:-2], "abandom", "art"]), "E_MNEMONIC"),
        ("checksum", " ".join(["abandon"] * 24), "E_MNEMONIC"),
        ("length", " ".join(words[:-1]), "E_MNEMONIC"),
        ("empty", "", "E_SECRET_FILE"),
        ("long", "a" * 5000, "E_SECRET_FILE"),
    ):
        source = ("--mnemonic-file", secret(tmp_path / name, text))
        out = tmp_path / "out"
        line = refused(pool, code, 1, *split_arguments(pool, out, source=source))
        assert "abandom" not in line
        assert not out.exists()
    source = ("--mnemonic-file", secret(tmp_path / "open", TEST_MNEMONIC, 0o640))
    refused(pool, "E_SECRET_FILE", 1, *split_arguments(pool, tmp_path / "out", source=source))


@pytest.mark.case("F23", "keystore: wrong password, checksum, signing path, public key, scrypt n")
def test_keystores_that_do_not_open(pool: Pool, tmp_path: Path, vectors: Vectors) -> None:
    published = vectors("eip/eip-2335-keystores.json")
    keystore = published["keystores"][1] | {"path": "m/12381/3600/0/0"}
    good = secret(tmp_path / "password", published["password_text"])
    crypto = keystore["crypto"]
    message = crypto["checksum"]["message"]
    checksum = crypto | {"checksum": crypto["checksum"] | {"message": message[::-1]}}
    params = {"dklen": 32, "n": 2**30, "p": 1, "r": 8, "salt": "ab" * 32}
    scrypt = crypto | {"kdf": {"function": "scrypt", "params": params, "message": ""}}
    for name, value, password, code in (
        ("password", keystore, secret(tmp_path / "wrong", "testpassword"), "E_KEYSTORE_PASSWORD"),
        ("checksum", keystore | {"crypto": checksum}, good, "E_KEYSTORE_PASSWORD"),
        ("path", keystore | {"path": "m/12381/3600/0/0/0"}, good, "E_KEY_PATH"),
        ("pubkey", keystore | {"pubkey": "aa" * 48}, good, "E_KEYSTORE"),
        ("scrypt", keystore | {"crypto": scrypt}, good, "E_KEYSTORE"),
        ("version", keystore | {"version": 3}, good, "E_SCHEMA"),
        ("open", keystore, secret(tmp_path / "open", "x", 0o644), "E_SECRET_FILE"),
        ("absent", keystore, tmp_path / "no-password", "E_SECRET_FILE"),
    ):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(value))
        source = ("--keystore", file, "--password-file", password)
        out = tmp_path / "out"
        refused(pool, code, 1, *split_arguments(pool, out, source=source))
        assert not out.exists()
    cut = secret(tmp_path / "cut.json", json.dumps(keystore)[:100])
    source = ("--keystore", cut, "--password-file", good)
    refused(pool, "E_SCHEMA", 1, *split_arguments(pool, tmp_path / "out", source=source))


@pytest.mark.case("X19", "options that belong to another source of the key")
def test_options_of_another_source(pool: Pool, tmp_path: Path) -> None:
    words = pool.folder / "mnemonic"
    for source in (
        ("--mnemonic-file", words, "--password-file", words),
        ("--keystore", words, "--password-file", words, "--passphrase-file", words),
        ("--keystore", words, "--password-file", words, "--key-index", "3"),
    ):
        refused(pool, "E_USAGE", 2, *split_arguments(pool, tmp_path / "out", source=source))
    line = refused(
        pool, "E_USAGE", 2, *split_arguments(pool, tmp_path / "out", source=("--mnemonic",))
    )
    assert "no terminal" in line


def test_a_key_has_one_source(pool: Pool, tmp_path: Path) -> None:
    words = pool.folder / "mnemonic"
    for source in (("--key-index", "1"), ("--mnemonic-file", words, "--keystore", words)):
        refused(pool, "E_USAGE", 2, *split_arguments(pool, tmp_path / "out", source=source))


@pytest.mark.case("X1", "unknown network on the command line; a file that borrows a name")
def test_networks_that_are_none(pool: Pool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = refused(
        pool, "E_NETWORK", 1, *split_arguments(pool, out, network=("--network", "görli"))
    )
    assert "mainnet" in line
    file = tmp_path / "network.json"
    constants = {
        "type": "signer-network",
        "version": 1,
        "name": "mainnet",
        "genesis_fork_version": "0x00000001",
        "genesis_validators_root": "0x" + "11" * 32,
        "capella_fork_version": "0x03000001",
        "chain_id": 1,
    }
    file.write_bytes(canonical(constants))
    refused(pool, "E_NETWORK", 1, *split_arguments(pool, out, network=("--network-file", file)))
    file.write_bytes(canonical(constants | {"name": "devnet"}))
    network = ("--network-file", file, "--network", "mainnet")
    refused(pool, "E_NETWORK", 1, *split_arguments(pool, out, network=network))
    refused(pool, "E_USAGE", 2, *split_arguments(pool, out, network=()))


@pytest.mark.case("P11", "policy: no address, wrong checksum, twice, unknown field, zero, garbage")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version: 2\naddresses: []\n", "E_SCHEMA"),
        ("", "E_SCHEMA"),
        ("addresses:\n", "E_SCHEMA"),
        (f"version: 3\naddresses: [{{address: '{TEST_ADDRESS}', label: a}}]\n", "E_SCHEMA"),
        (f"version: 2\nall: 1\naddresses: [{{address: '{TEST_ADDRESS}', label: a}}]", "E_SCHEMA"),
        (f"version: 2\naddresses: [{{address: '{TEST_ADDRESS}'}}]", "E_SCHEMA"),
        (f"version: 2\naddresses: [{{address: '{TEST_ADDRESS.replace('F', 'f', 1)}', label: a}}]",
         "E_ADDRESS"),
        (f"version: 2\naddresses: [{{address: '0x{'00' * 20}', label: a}}]", "E_TARGET"),
        ("version: 2\naddresses: [{address: vitalik.eth, label: a}]", "E_ADDRESS"),
        ("a: &a [*a]", "E_SCHEMA"),
        ("\x00", "E_SCHEMA"),
    ],
)  # fmt: skip
def test_policies_that_are_none(pool: Pool, tmp_path: Path, text: str, code: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    refused(pool, code, 1, *split_arguments(pool, tmp_path / "out", policy=policy))
    assert not (tmp_path / "out").exists()


# Requests


@pytest.mark.case("P11", "request to an address with a wrong checksum, zero, ENS name")
def test_requests_to_addresses_that_are_none(pool: Pool, tmp_path: Path) -> None:
    listed, out = tmp_path / "list", tmp_path / "request.json"
    listed.write_text("1\n")
    for to, code in (
        (TEST_ADDRESS.replace("F", "f", 1), "E_ADDRESS"),
        ("0x" + "00" * 20, "E_TARGET"),
        ("vitalik.eth", "E_ADDRESS"),
        (TEST_ADDRESS[:-1], "E_ADDRESS"),
    ):
        refused(pool, code, 1, "request", "new", "--group", pool.group, "--to", to,
                "--validators", listed, "--out", out)  # fmt: skip
        assert not out.exists()


@pytest.mark.case("X2", "validator lists: 20,001, none, twice, negative, text, binary, huge index")
def test_validator_lists_that_are_none(pool: Pool, tmp_path: Path) -> None:
    listed, out = tmp_path / "list", tmp_path / "request.json"
    for content in (
        "".join(f"{index}\n" for index in range(20_001)),
        "",
        "# only a comment\n",
        "1\n2\n1\n",
        "-1\n",
        "1.5\n",
        "01\n",
        "0x10\n",
        "one\n",
        f"{2**40}\n",
        "[1, 2, 2]",
        "[1, -2]",
        "[1.5]",
        "[true]",
        "[1, [2]]",
        "[1",
        "{}",
        '{"validators": [1]}',
        "1\n\x00\n",
        "# 5 was removed\r999999\n7\n",
        "7\x0c8\n",
        "1\nü\n",
    ):
        listed.write_text(content)
        refused(pool, "E_SCHEMA", 1, "request", "new", "--group", pool.group, "--to", TEST_ADDRESS,
                "--validators", listed, "--out", out)  # fmt: skip
        assert not out.exists()
    for content in ("[3, 1, 2]", '["3", "1", "2"]', "3\n1\n2\n", " 3 # c\n\n1\r\n2"):
        listed.write_text(content)
        done = pool.run("request", "new", "--group", pool.group, "--to", TEST_ADDRESS,
                        "--validators", listed, "--out", out, "--json")  # fmt: skip
        assert json.loads(done.stdout)["items"] == 3
        out.unlink()


@pytest.mark.case("R11", "times that are none; another network than the group's")
def test_requests_with_wrong_options(pool: Pool, tmp_path: Path) -> None:
    listed, out = tmp_path / "list", tmp_path / "request.json"
    listed.write_text("1\n")
    arguments = ("request", "new", "--group", pool.group, "--to", TEST_ADDRESS,
                 "--validators", listed, "--out", out)  # fmt: skip
    for option in (("--valid-for", "0d"), ("--valid-for", "soon"), ("--network", "hoodi")):
        refused(pool, "E_USAGE", 2, *arguments, *option)
        assert not out.exists()


@pytest.mark.case(
    "F1", "request shown or signed that is empty, too large, a folder, something else"
)
def test_requests_that_are_none(pool: Pool, tmp_path: Path) -> None:
    for path, code in (
        (secret(tmp_path / "empty", ""), "E_SCHEMA"),
        (secret(tmp_path / "zip", b"PK\x03\x04" + bytes(100)), "E_SCHEMA"),
        (secret(tmp_path / "bom", b"\xef\xbb\xbf{}"), "E_SCHEMA"),
        (secret(tmp_path / "deep", b"[" * 10_000), "E_SCHEMA"),
        (secret(tmp_path / "deeper", b'{"a":' * 10_000), "E_SCHEMA"),
        (pool.group, "E_SCHEMA"),
        (secret(tmp_path / "large", bytes(9 * 1024 * 1024)), "E_INPUT"),
        (tmp_path, "E_INPUT"),
        (Path("/dev/zero"), "E_INPUT"),
        (tmp_path / "a\nb\x1b[2J", "E_INPUT"),
    ):
        line = refused(pool, code, 1, "request", "show", path)
        assert line.isprintable()
        refused(pool, code, 1, "sign", path, "--group", pool.group, "--out", tmp_path / "out")


@pytest.mark.case("R4", "request of another group; an expired one; one agent given twice")
def test_requests_of_others_are_not_gathered_for(pool: Pool, tmp_path: Path) -> None:
    request = json.loads(pool.request([1]).read_bytes())
    options = ("--group", pool.group, "--out", tmp_path / "out")
    for name, changes, code in (
        ("group", {"group": "00" * 32}, "E_GROUP"),
        ("key", {"group_public_key": "11" * 48}, "E_GROUP"),
        ("epoch", {"epoch": 2}, "E_EPOCH"),
        ("network", {"network": "hoodi"}, "E_NETWORK"),
        ("expired", {"expires": 1}, "E_EXPIRED"),
    ):
        path = secret(tmp_path / name, canonical(request | changes))
        refused(pool, code, 3, "sign", path, *options)
    good = pool.folder / "request.json"
    twice = ("--agent", tmp_path / "a.sock", "--agent", tmp_path / "a.sock")
    refused(pool, "E_USAGE", 2, "sign", good, *options, *twice)


@pytest.mark.case("F21", "result that cannot be written")
def test_results_that_cannot_be_written(pool: Pool, tmp_path: Path) -> None:
    listed = secret(tmp_path / "list", "1\n")
    for out in (tmp_path / "none" / "request.json", Path("/proc/request.json"), tmp_path):
        refused(pool, "E_OUTPUT", 1, "request", "new", "--group", pool.group, "--to", TEST_ADDRESS,
                "--validators", listed, "--out", out)  # fmt: skip
    file = secret(tmp_path / "file", "")
    refused(pool, "E_OUTPUT", 1, *split_arguments(pool, file))
    refused(pool, "E_OUTPUT", 1, *split_arguments(pool, file / "under"))


@pytest.mark.case("X13", "a name that a card cannot carry")
@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "x" * 65, "Zoë"])
def test_names_that_no_card_carries(pool: Pool, tmp_path: Path, name: str) -> None:
    holder = pool.holders[0]
    out = tmp_path / "card.json"
    refused(pool, "E_USAGE", 2, "token", "card", *holder.token_options, "--name", name,
            "--out", out, holder=holder)  # fmt: skip
    assert not out.exists()
