"""A dealer who seals one member a share that is not on his polynomial, and signs the deal.

`python -m demo.cheating_dealer FOLDER --state STATE --token LABEL --pin-file FILE --victim N`
after `signer ceremony join`. All that others can see of the deal is right; only the victim, who
opens it on his token, finds the fault. The session seed is kept as an honest dealer keeps it, so
`signer ceremony next` answers the complaint afterwards.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

from signer.ceremony.deal import PAYLOAD_TYPE, Deal, DealBody, info_of, leaves_of, sealed_json
from signer.ceremony.dealing import SEED_BYTES, ephemeral_seed, make_deal
from signer.ceremony.setting import Setting
from signer.custody.ceremony_folder import CeremonyFolder
from signer.custody.ceremony_state import DEALT, CeremonyState
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.worker.desk_token import session_on
from signer.custody.worker.notary import identity_on, sign_file
from signer.hsm.profile import load_profile
from signer.sealing import merkle
from signer.sealing.hpke import Sealed, seal
from signer.sealing.transit import seal_in_transit
from signer.secret import SecretBytes
from signer.strict import canonical
from signer.threshold.dealing import Dealing
from signer.threshold.params import ShareIndex

_SESSION = b"signer/session/v1\x00"  # as the worker seals a dealer's session seed


def main() -> None:
    """Deal falsely; the deal goes into the state folder, from where `next` hands it on."""
    parser = argparse.ArgumentParser(prog="demo.cheating_dealer", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--pin-file", required=True)
    parser.add_argument("--victim", type=int, required=True)
    asked = parser.parse_args()
    setting = CeremonyFolder(asked.folder).setting()
    desk = CeremonyState.of(asked.state, setting.roster)
    dealer = desk.me().dealer
    if dealer is None:
        raise SystemExit("he is no dealer of this ceremony")
    card = setting.card_of_dealer(dealer)
    token = TokenChoice(profile=load_profile("softhsm2"), label=asked.token)
    seed = SecretBytes.take(bytearray(os.urandom(SEED_BYTES)))
    with seed, session_on(token, SecretSource(file=asked.pin_file)) as session:
        body, ciphertexts = false_deal(setting, dealer, seed, ShareIndex(asked.victim))
        identity = identity_on(session, card)
        deal = Deal(sign_file(identity, PAYLOAD_TYPE, body.to_payload()), ciphertexts)
        info = _SESSION + setting.roster.id
        kept = sealed_json(seal(card.body.kex, info, b"", seed, os.urandom))
    desk.keep(DEALT, canonical({"session": kept, "deal": deal.to_json(), "bindings": None}) + b"\n")


def false_deal(
    setting: Setting, dealer: int, seed: SecretBytes, victim: ShareIndex
) -> tuple[DealBody, tuple[Sealed, ...]]:
    """Return an honest deal but for the victim's share, which is his neighbour's."""
    roster = setting.roster
    body, honest = make_deal(setting, dealer, seed, int(time.time()))
    neighbour = ShareIndex(victim % roster.threshold.n + 1)
    with (
        Dealing.derive(seed, roster.id, roster.threshold.t) as dealing,
        dealing.share_for(neighbour) as wrong,
        wrong.to_big_endian() as plain,
        ephemeral_seed(seed, roster.id, victim) as ephemeral,
    ):
        false = seal_in_transit(
            roster.members[victim - 1].body.kex,
            plain,
            info_of(roster.id, dealer, victim),
            body.associated_data,
            ephemeral,
        )
    ciphertexts = (*honest[: victim - 1], false, *honest[victim:])
    root = merkle.root(leaves_of(ciphertexts))
    return replace(body, ciphertexts_root=root), ciphertexts


if __name__ == "__main__":
    main()
