"""A holder who takes part in a ceremony with his own token, and cheats.

    python -m tests.hostile.holder CHEAT --folder FOLDER --card CARD --token LABEL --pin-file FILE

Each run does what he can do now: deal, answer a complaint, agree or complain, acknowledge; in a
repair: help, add up, answer or complain, sign the card, or take the share. CHEAT says which of
these he does as no honest holder would. What he signed is evidence: it is his token's signature.
"""

import argparse
from pathlib import Path

from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker.desk_token import session_on
from signer.hsm.profile import load_profile
from signer.messages.card import Card
from tests.hostile.dealer import Dealer
from tests.hostile.dealer_cheats import CHEATS
from tests.hostile.desk import Desk
from tests.hostile.helper import Helper, Returning
from tests.hostile.helper_cheats import REPAIR_CHEATS


def main() -> None:
    """Take part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cheat", choices=sorted({*CHEATS, *REPAIR_CHEATS}))
    for name in ("--folder", "--card", "--token", "--pin-file"):
        parser.add_argument(name, required=True)
    for name in ("--envelope", "--journal"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--victim", type=int, default=2)
    chosen = parser.parse_args()
    folder = CeremonyFolder(Path(chosen.folder))
    card = Card.parse_file(Path(chosen.card).read_bytes(), "card")
    token = TokenChoice(profile=load_profile("softhsm2"), label=chosen.token)
    pin = SecretSource(file=chosen.pin_file)
    with session_on(token, pin) as session:
        desk = Desk(folder, card, session, token, pin, chosen.envelope, chosen.journal)
        for name in _who(desk, chosen.cheat, chosen.victim).turn():
            print(name)


def _who(desk: Desk, cheat: str, victim: int) -> Dealer | Helper | Returning:
    if (repair := desk.folder.repair()) is None:
        return Dealer.of(CHEATS[cheat], desk, desk.folder.setting(), victim)
    if desk.card.digest == repair.roster.card.digest:
        return Returning(REPAIR_CHEATS[cheat], desk, repair, victim)
    return Helper.of(REPAIR_CHEATS[cheat], desk, repair, victim)


if __name__ == "__main__":
    main()
