"""Ceremonies of a finished pool that wait for one holder alone: Eve, who is to cheat."""

from collections.abc import Sequence
from pathlib import Path

from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.testing.ceremony import Ceremony
from signer.testing.pool import Pool
from tests.hostile.dealer import SPLIT_KEY
from tests.simulators.finished import finished

ADA, BEN, EVE, DAN, FAY = 1, 2, 3, 4, 5  # holders' numbers; Fay has a token and no share
NAMES = ["Ada", "Ben", "Eve", "Dan", "Fay"]
BOUND = 7  # the validator that the old shares have signed for


def propose_reshare(pool: Pool) -> Ceremony:
    """Propose to deal shares anew, 2 of 4: Ada, Ben and Eve deal, Fay comes in for Dan."""
    members = [pool.holders[who - 1] for who in (ADA, BEN, EVE, FAY)]
    ceremony = Ceremony(pool, pool.folder / "reshare", members)
    for holder in members[:3]:
        ceremony.options[holder.index] = ["--envelope", holder.envelope, "--journal",
                                          holder.journal]  # fmt: skip
        ceremony.groups[holder.index] = pool.group
    cards = [part for holder in members for part in ("--card", ceremony.card_of(holder))]
    dealers = [part for dealer in (ADA, BEN, EVE) for part in ("--dealer", str(dealer))]
    pool.run("ceremony", "new", "reshare", *cards, "--threshold", "2", "--policy", pool.policy,
             "--previous", pool.group, *dealers, "--reason", "remove",
             "--out", ceremony.folder)  # fmt: skip
    return ceremony


def begun_reshare(folder: Path) -> Ceremony:
    """Begin to deal shares anew; Ada and Ben have dealt."""
    pool = finished(folder, NAMES, 2, more=1)
    sign_once(pool, [ADA, BEN, EVE], BOUND)
    ceremony = propose_reshare(pool)
    _join(ceremony, (ADA, BEN, FAY), (ADA, BEN))
    return ceremony


def propose_split(pool: Pool) -> Ceremony:
    """Propose to split a key that Eve has, 2 of 3, among Ada, Ben and Dan."""
    members = [pool.holders[who - 1] for who in (ADA, BEN, DAN)]
    eve = pool.holders[EVE - 1]
    ceremony = Ceremony(pool, pool.folder / "split", [*members, eve], {EVE: eve.card})
    with SecretScalar.from_big_endian(bytearray(SPLIT_KEY)) as scalar:
        key = bytes(public_key(scalar)).hex()
    ceremony.new("split", members, 2, "--dealer-card", ceremony.cards[EVE], "--public-key", key,
                 "--network", "mainnet", "--name", "old key")  # fmt: skip
    return ceremony


def begun_split(folder: Path) -> Ceremony:
    """Begin to split a key."""
    ceremony = propose_split(finished(folder, NAMES, 2, more=1))
    _join(ceremony, (ADA, BEN, DAN))
    return ceremony


def propose_repair(pool: Pool) -> Ceremony:
    """Propose to repair Dan's share, of a group 2 of 4, for Fay's token; Ada, Ben and Eve help."""
    helpers = pool.holders[:3]
    fay = pool.holders[FAY - 1]
    ceremony = Ceremony(pool, pool.folder / "repair", [*helpers, fay])
    ceremony.cards = {holder.index: holder.card for holder in ceremony.people}
    ceremony.groups = {holder.index: pool.group for holder in ceremony.people}
    for holder in helpers:
        ceremony.options[holder.index] = ["--envelope", holder.envelope]
    named = [part for holder in helpers for part in ("--helper", str(holder.index))]
    pool.run("ceremony", "new", "repair", "--previous", pool.group, "--lost", str(DAN), *named,
             "--card", fay.card, "--out", ceremony.folder)  # fmt: skip
    return ceremony


def begun_repair(folder: Path) -> Ceremony:
    """Begin to repair a share; Ada and Ben have helped."""
    ceremony = propose_repair(finished(folder, NAMES, 2, more=1))
    _join(ceremony, (ADA, BEN, FAY), (ADA, BEN))
    return ceremony


def sign_once(pool: Pool, holders: Sequence[int], validator: int) -> int:
    """Let agents sign for a validator; return how many signatures came of it."""
    chosen = [pool.holders[who - 1] for who in holders]
    for holder in chosen:
        pool.start_agent(holder)
    try:
        request = pool.request([validator], name=f"request-{validator}.json")
        agents = [holder.socket for holder in chosen]
        done = pool.sign(request, pool.folder / f"signed-{validator}", agents=agents)
        return done.stdout.count('"signed": 1')
    finally:
        for holder in chosen:
            pool.stop_agent(holder)


def _join(ceremony: Ceremony, join: Sequence[int], go_on: Sequence[int] = ()) -> None:
    for who in join:
        ceremony.join(ceremony.pool.holders[who - 1])
    for who in go_on:
        ceremony.next(ceremony.pool.holders[who - 1])
