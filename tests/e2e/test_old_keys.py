"""After a reshare every key that opens an old share has to go, wherever it is, or none counts."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer.custody.desk import read_group
from signer.testing.ceremony import Ceremony
from signer.testing.pool import Holder, Pool
from tests.simulators.gathered import status, told

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]

# What somebody does who reaches the module and has no PIN: a stranger's public key object in the
# place of the holder's.
_EXCHANGE = """
import sys
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import KeyType
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.module import load_module, locate_module
from signer.hsm.profile import load_profile
from signer.hsm.provenance import P256_PARAMS
point = bytes.fromhex(sys.argv[2])
stranger = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
    Encoding.X962, PublicFormat.UncompressedPoint)
head = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: "epoch-kex"}
with load_module(locate_module(load_profile("softhsm2"))) as module:
    token = find_token(module, TokenSelector(sys.argv[1], None))
    with token.slot.get_token().open(rw=True) as session:
        for key in list(session.get_objects(head)):
            if bytes(key[Attribute.EC_POINT])[-65:] == point:
                key_id = bytes(key[Attribute.ID])
                key.destroy()
                session.create_object({**head, Attribute.KEY_TYPE: KeyType.EC,
                    Attribute.TOKEN: True, Attribute.PRIVATE: False, Attribute.ID: key_id,
                    Attribute.EC_PARAMS: P256_PARAMS, Attribute.EC_POINT: b"\\x04\\x41" + stranger})
"""


@pytest.fixture(scope="module")
def reshared(
    softhsm_here: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ceremony, Path]]:
    """Yield a reshare, 2 of 2, whose new group is active; Ada has put her old share on a spare."""
    folder = tmp_path_factory.mktemp("old-keys")
    with Pool.with_tokens(folder / "p", ["Ada", "Ben"]) as pool:
        pool.write_policy(more="drill: {every: 30d}")
        members = pool.holders
        first = Ceremony(pool, folder / "dkg", members)
        first.new("dkg", members, 2, "--network", "mainnet", "--name", "stakers")
        for holder in members:
            first.join(holder)
        first.run()
        old = folder / "old-group.json"
        old.write_bytes(first.activate(members).read_bytes())
        for holder in members:
            kept(holder).write_bytes(holder.envelope.read_bytes())
        with_spare(pool, members[0], old)

        second = Ceremony(pool, folder / "reshare", members)
        for holder in members:
            second.options[holder.index] = ["--envelope", kept(holder), "--journal", holder.journal]
        pool.run(
            "ceremony", "new", "reshare",
            *[part for holder in members for part in ("--card", second.card_of(holder))],
            "--threshold", "2", "--policy", pool.policy, "--previous", old, "--dealer", "1",
            "--dealer", "2", "--out", second.folder,
        )  # fmt: skip
        for holder in members:
            second.join(holder, group=old)
        second.run()
        pending, uid = second.folder / "group-pending.json", os.geteuid()
        for holder in members:
            holder.envelope.write_bytes(second.envelope(holder).read_bytes())
            peers = f"{{status: [{uid}], sign: [{uid}], drill: [{uid}]}}"
            pool.start_agent(holder, group=f'"{pending}"', peers=peers)
        agents = [part for holder in members for part in ("--agent", holder.socket)]
        pool.run("drill", "run", "--activate", "--group", pending, *agents, "--out", second.folder)
        for holder in members:
            pool.stop_agent(holder)
        second.options.clear()  # which envelope, each test says
        yield second, old


def kept(holder: Holder) -> Path:
    return holder.folder / "old.envelope.json"


def with_spare(pool: Pool, ada: Holder, group: Path) -> None:
    """Seal Ada's share to a spare token that no card shows."""
    ada.token.initialise("ada-spare")
    options: list[str | Path] = ["--token", "ada-spare", "--pin-file", ada.token.pin_file]
    pool.run("token", "setup", *options, holder=ada)
    card = ada.folder / "spare.card.json"
    pool.run("token", "card", *options, "--name", "Ada spare", "--out", card, holder=ada)
    both = ada.folder / "both.envelope.json"
    pool.run(
        "share", "spare", "--group", group, "--envelope", kept(ada), "--card", card,
        *ada.token_options, "--spare-token", "ada-spare", "--spare-pin-file", ada.token.pin_file,
        "--out", both, holder=ada,
    )  # fmt: skip
    kept(ada).unlink()
    both.rename(kept(ada))


def opens(pool: Pool, holder: Holder, group: Path, token: str) -> bool:
    """Tell whether the old share opens on one of the holder's tokens."""
    card: list[str | Path] = (
        ["--card", holder.folder / "spare.card.json"] if token.endswith("spare") else []
    )
    done = pool.run("share", "verify", "--group", group, "--envelope", kept(holder), "--token",
                    token, "--pin-file", holder.token.pin_file, *card, holder=holder,
                    expect=None)  # fmt: skip
    return done.returncode == 0


@pytest.mark.case("X751", "receipt while the old share opens on a spare that no card shows")
def test_a_spare_s_key_goes_too(reshared: tuple[Ceremony, Path]) -> None:
    ceremony, old = reshared
    pool, ada = ceremony.pool, ceremony.people[0]
    assert told(ceremony, 1)[1]["next"] == "destroy"
    ended, _, error = told(ceremony, 1, "--yes-destroy")
    assert (ended, "--envelope" in error) == (2, True)
    words: list[str | Path] = ["--envelope", kept(ada), "--yes-destroy"]
    ended, _, error = told(ceremony, 1, *words)
    assert (ended, "on other tokens too" in error) == (2, True)
    assert opens(pool, ada, old, ada.token.label)

    # The wrong token in the spare's place: it has none of the keys, and never had.
    ended, _, error = told(ceremony, 1, *words, "--spare-token", ada.token.label,
                           "--spare-pin-file", ada.token.pin_file)  # fmt: skip
    assert (ended, "none of the keys" in error) == (7, True)
    spare: list[str | Path] = ["--spare-token", "ada-spare", "--spare-pin-file", ada.token.pin_file]
    ended, value, error = told(ceremony, 1, *words, *spare)
    assert (ended, value.get("done")) == (0, "destroy"), error
    assert not opens(pool, ada, old, "ada-spare")
    assert not opens(pool, ada, old, ada.token.label)
    assert status(ceremony)["destroyed"] == [1]


@pytest.mark.case("X753", "cut off between the destroying of the keys and the note that they are")
def test_a_cut_after_the_keys_are_gone(reshared: tuple[Ceremony, Path]) -> None:
    ceremony, _ = reshared
    ada = ceremony.people[0]
    (desk,) = (path.parent for path in ceremony.state(ada).glob("ceremony-*/destroyed.json"))
    for name in ("destroyed.json", *(path.name for path in desk.glob("gone-*.json"))):
        (desk / name).unlink()
    (ceremony.folder / "destroyed-01.json").unlink()
    spare: list[str | Path] = ["--spare-token", "ada-spare", "--spare-pin-file", ada.token.pin_file]
    ended, value, error = told(ceremony, 1, "--envelope", kept(ada), "--yes-destroy", *spare)
    assert (ended, value.get("done")) == (0, "destroy"), error
    assert status(ceremony)["destroyed"] == [1]


@pytest.mark.case("X752", "old key hidden: its public object exchanged by somebody without a PIN")
def test_a_hidden_key_is_no_destroyed_key(reshared: tuple[Ceremony, Path]) -> None:
    ceremony, old = reshared
    ben = ceremony.people[1]
    point = read_group(old).card_of(2).body.kex.hex()
    done = subprocess.run([sys.executable, "-c", _EXCHANGE, ben.token.label, point],
                          env=ben.token.environment, capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    ended, _, error = told(ceremony, 2, "--envelope", kept(ben), "--yes-destroy")
    assert (ended, "E_PROVENANCE" in error) == (7, True), error
    assert status(ceremony)["destroyed"] == [1]
    assert not list(ceremony.folder.glob("destroyed-02*"))
    receipt = json.loads((ceremony.folder / "destroyed-01.json").read_bytes())
    assert receipt["signatures"]
