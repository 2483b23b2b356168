"""Whatever a token shows: nothing is sealed to a stranger's key, and nobody is blamed for it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.mechanisms import KeyType
from pkcs11.types import Session

from signer.hsm.discovery import TokenSelector, find_token
from signer.hsm.module import load_module, locate_module
from signer.hsm.profile import load_profile
from signer.hsm.provenance import P256_PARAMS
from signer.messages.card import Card
from signer.strict import parse_object
from signer.testing.ceremony import Ceremony
from signer.testing.pool import TEST_ADDRESS, Holder, Pool

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]


def swap(label: str, own: bytes) -> None:
    """Put a stranger's point where the private key's is, and the true one beside no private key."""
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    planted = stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with load_module(locate_module(load_profile("softhsm2"))) as module:
        token = find_token(module, TokenSelector(label))
        with token.slot.get_token().open(rw=True) as session:  # no PIN
            shown = session.get_objects(
                {Attribute.LABEL: "epoch-kex", Attribute.CLASS: ObjectClass.PUBLIC_KEY}
            )
            (public,) = shown
            key_id = bytes(public[Attribute.ID])
            public.destroy()
            put(session, b"\x04\x41" + planted, key_id)
            put(session, b"\x04\x41" + own, b"orphan")


def exchange(label: str) -> None:
    """Exchange the public objects of a token's two receiving keys."""
    with load_module(locate_module(load_profile("softhsm2"))) as module:
        token = find_token(module, TokenSelector(label))
        with token.slot.get_token().open(rw=True) as session:  # no PIN
            shown = list(
                session.get_objects(
                    {Attribute.LABEL: "epoch-kex", Attribute.CLASS: ObjectClass.PUBLIC_KEY}
                )
            )
            (one, other) = [(bytes(key[Attribute.ID]), key[Attribute.EC_POINT]) for key in shown]
            for key in shown:
                key.destroy()
            put(session, other[1], one[0])
            put(session, one[1], other[0])


def put(session: Session, point: bytes, key_id: bytes) -> None:
    session.create_object(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
            Attribute.LABEL: "epoch-kex",
            Attribute.ID: key_id,
            Attribute.EC_PARAMS: P256_PARAMS,
            Attribute.EC_POINT: point,
        }
    )


def at_the_token(holder: Holder, patch: pytest.MonkeyPatch) -> None:
    """Let this process reach the holder's token, as the program of somebody without a PIN does."""
    for name, value in holder.token.environment.items():
        if name.startswith("SOFTHSM"):
            patch.setenv(name, value)


def dealt(ceremony: Ceremony, holder: Holder) -> list[Path]:
    return [
        *ceremony.state(holder).rglob("dealt.json"),
        *ceremony.folder.glob(f"deal-{holder.index:02}*"),
    ]


@pytest.mark.case("X783", "deal by a dealer whose public objects were swapped without his PIN")
def test_nothing_is_dealt_with_a_strangers_key_on_the_token(
    softhsm_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pool.with_tokens(tmp_path / "p", ["Ada", "Ben"]) as pool:
        pool.write_policy([TEST_ADDRESS])
        ada, ben = pool.holders
        ceremony = Ceremony(pool, tmp_path / "dkg", pool.holders)
        for holder in pool.holders:
            ceremony.cards[holder.index] = holder.card  # of the one key on his token
        ceremony.new("dkg", pool.holders, 2, "--name", "pool", "--network", "mainnet")
        for holder in pool.holders:
            ceremony.join(holder)
        at_the_token(ada, monkeypatch)
        shown = parse_object(ada.card.read_bytes(), what="card", max_bytes=65536)
        swap(ada.token.label, Card.parse(shown).body.kex)
        error = pool.run(
            "ceremony", "next", ceremony.folder, "--state", ceremony.state(ada),
            *ada.token_options, holder=ada, expect=None,
        ).stderr  # fmt: skip
        assert "E_TOKEN_KEY" in error
        assert len(error.splitlines()) <= 2
        assert dealt(ceremony, ada) == []
        assert ceremony.next(ben)["done"] == "deal"
        assert len(dealt(ceremony, ben)) == 2


@pytest.mark.case("X824", "public objects of a member's two receiving keys exchanged without a PIN")
def test_nobody_is_blamed_for_a_token_s_other_key(
    softhsm_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pool.with_tokens(tmp_path / "p", ["Ada", "Ben"]) as pool:
        pool.write_policy([TEST_ADDRESS])
        ada, ben = pool.holders
        ceremony = Ceremony(pool, tmp_path / "dkg", pool.holders)
        ceremony.new("dkg", pool.holders, 2, "--name", "pool", "--network", "mainnet")
        for holder in pool.holders:
            ceremony.join(holder)
        at_the_token(ada, monkeypatch)
        for step in ("deal", "agree", "acknowledge"):
            before = set(ceremony.folder.iterdir())
            exchange(ada.token.label)
            error = pool.run(
                "ceremony", "next", ceremony.folder, "--state", ceremony.state(ada),
                *ada.token_options, holder=ada, expect=None,
            ).stderr  # fmt: skip
            assert "E_PROVENANCE" in error
            assert set(ceremony.folder.iterdir()) == before, step  # no complaint of Ben's deal
            exchange(ada.token.label)
            assert [ceremony.next(holder)["done"] for holder in (ada, ben)] == [step] * 2
