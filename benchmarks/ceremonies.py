"""What one holder pays to generate a key with others: his own commands, on a SoftHSM token.

`join`, then `next` until he has acknowledged: every process that these commands start is counted.
Of the many others only their files are needed; at 100 holders they are made in memory beforehand.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import children_cpu_seconds
from signer.ceremony.agreement import MEMBER, PAYLOAD_TYPE, agreement_of
from signer.ceremony.bundle import Bundle
from signer.ceremony.checking import Outcome, check_deal, outcome_of
from signer.ceremony.deal import PAYLOAD_TYPE as DEAL_TYPE
from signer.ceremony.deal import Deal
from signer.ceremony.dealing import make_deal
from signer.ceremony.roster import Roster
from signer.ceremony.setting import Setting
from signer.files import write_new
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.testing.ceremony import Ceremony
from signer.testing.pool import Holder, Pool
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Person

_HASH, _SIGNATURE, _SEALED = 32, 64, 65 + 48  # bytes


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a deal and of one member's slim bundle: the files, and what they hold in binary."""

    deal: int
    deal_content: int
    bundle: int
    bundle_content: int


def on_tokens(pool: Pool, t: int, folder: Path) -> float:
    """Generate a key among all of a pool's tokens; return the CPU seconds of one holder."""
    ceremony = Ceremony(pool, folder, pool.holders)
    ceremony.new("dkg", pool.holders, t, "--network", "mainnet", "--name", "bench")

    def work() -> None:
        for holder in pool.holders:
            ceremony.join(holder)
        ceremony.run()

    return children_cpu_seconds(work) / len(pool.holders)


def among_many(pool: Pool, t: int, n: int, folder: Path) -> tuple[float, Sizes]:
    """Return the CPU seconds of the pool's first holder among n, and how large the files are."""
    holder, ceremony = pool.holders[0], Ceremony(pool, folder, pool.holders[:1])
    crowd = {index: Person.new(f"holder {index}") for index in range(2, n + 1)}
    cards = [ceremony.card_of(holder)]
    for index, person in crowd.items():
        cards.append(pool.folder / f"crowd-{index}.card.json")
        write_new(cards[-1], canonical(person.card.to_json()) + b"\n")
    given = [part for card in cards for part in ("--card", card)]
    pool.run("ceremony", "new", "dkg", *given, "--threshold", str(t), "--policy", pool.policy,
             "--network", "mainnet", "--name", "bench", "--rehearsal", "--out", folder)  # fmt: skip
    setting = Setting.of(Roster.parse((folder / "roster.json").read_bytes()), None)
    deals = {index: _deal(setting, index, person) for index, person in crowd.items()}
    for index, deal in deals.items():
        write_new(folder / f"deal-{index:02}.json", deal.to_bytes())

    ceremony_id = ceremony.fingerprint  # read out by another: not the holder's time
    spent = children_cpu_seconds(
        lambda: pool.run(
            "ceremony", "join", folder, "--state", ceremony.state(holder), "--card",
            ceremony.card_of(holder), "--fingerprint", ceremony_id, holder=holder,
        )
    )  # fmt: skip
    spent += _step(ceremony, holder, "deal")
    deals[1] = Deal.parse((folder / "deal-01.json").read_bytes())
    outcome = _outcome(setting, deals)
    for index, person in crowd.items():
        said = agreement_of(outcome, MEMBER, index, setting.roster.not_before)
        signed = person.sign(PAYLOAD_TYPE, said.to_payload())
        write_new(folder / f"agree-{index:02}.json", canonical(signed.to_json()) + b"\n")
    spent += _step(ceremony, holder, "agree")
    spent += _step(ceremony, holder, "acknowledge")
    return spent, _sizes(setting, deals)


def _step(ceremony: Ceremony, holder: Holder, name: str) -> float:
    """Have the holder take his next step, which must be `name`; return its CPU seconds."""
    told: list[str] = []
    seconds = children_cpu_seconds(lambda: told.append(ceremony.next(holder)["done"]))
    if told != [name]:
        raise SystemExit(f"the holder's step was {told[0]}, not {name}")
    return seconds


def _deal(setting: Setting, dealer: int, person: Person) -> Deal:
    with SecretBytes(dealer.to_bytes(32, "big")) as seed:
        body, ciphertexts = make_deal(setting, dealer, seed, setting.roster.not_before)
    return Deal(person.sign(DEAL_TYPE, body.to_payload()), ciphertexts)


def _outcome(setting: Setting, deals: dict[int, Deal]) -> Outcome:
    dealers = setting.roster.dealers
    return outcome_of(setting, [check_deal(deals[dealer], setting, dealer) for dealer in dealers])


def _sizes(setting: Setting, deals: dict[int, Deal]) -> Sizes:
    t, n = setting.roster.threshold.t, setting.roster.threshold.n
    signed = 48 * t + 48 + 32 + _HASH + _SIGNATURE  # commitments, proof, root, signature
    slim = [deal.slim(ShareIndex(n)) for deal in deals.values()]
    bundle = Bundle.of(setting.roster, ShareIndex(n), deals, {})
    return Sizes(
        deal=len(deals[1].to_bytes()),
        deal_content=signed + n * _SEALED,
        bundle=len(bundle.to_bytes()),
        bundle_content=sum(signed + _SEALED + _HASH * len(entry.path) for entry in slim),
    )
