"""A spare token signs in the primary's place, though nobody else knows its identity key."""

from pathlib import Path

import pytest

from signer.testing.pool import Pool, summary


@pytest.mark.case("T13", "agent moved to the spare token, with a PIN of its own")
def test_a_pool_signs_with_a_spare(pool: Pool, tmp_path: Path) -> None:
    holder = pool.holders[2]
    pin = holder.folder / "spare-pin"
    pin.touch(mode=0o600)
    pin.write_text("spare-4321")
    holder.token.initialise("spare", pin="spare-4321")
    spare = ("--token", "spare", "--pin-file", pin)
    card = tmp_path / "spare.card.json"
    pool.run("token", "setup", *spare, holder=holder)
    pool.run("token", "card", *spare, "--name", "Cy spare", "--out", card, holder=holder)
    pool.run("share", "spare", "--group", pool.group, "--envelope", holder.envelope,
             "--card", card, *holder.token_options, "--spare-token", "spare",
             "--spare-pin-file", pin, "--out", holder.folder / "both.json",
             holder=holder)  # fmt: skip
    with pool:
        for other in pool.holders[:2]:
            pool.start_agent(other)
        pool.start_agent(holder)
        pool.sign(pool.request([1], name="first.json"), tmp_path / "out")
        pool.stop_agent(holder)
        pool.start_agent(holder, envelope="both.json", pin="{file: spare-pin}",
                         token="{profile: softhsm2, label: spare}")  # fmt: skip
        sockets = [each.socket for each in pool.holders[:3]]
        done = pool.sign(pool.request([2], name="then.json"), tmp_path / "then", agents=sockets)
    assert summary(done)["signers"] == [1, 2, 3]
    assert summary(done)["culprits"] == []
