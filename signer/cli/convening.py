"""The wiring of `signer ceremony new`: options in, a folder with a roster out."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signer.bls.encoding import PublicKey
from signer.ceremony.following import require_previous
from signer.ceremony.roster import ReshareTerms, Roster, SplitTerms
from signer.ceremony.terms import NONCE_BYTES
from signer.cli.wiring import network, seconds, shares
from signer.custody.ceremony_folder import POLICY, PREVIOUS, ROSTER
from signer.custody.desk import read_group, read_policy
from signer.errors import PolicyError, UsageError
from signer.files import make_folder, read_file, require_new, write_new
from signer.messages.card import MAX_BYTES as MAX_CARD_BYTES
from signer.messages.card import Card
from signer.messages.group_file import GroupFile
from signer.policy.policy import Policy
from signer.strict import canonical
from signer.threshold.params import Threshold

_CLOCK_SECONDS = 3600  # that another machine's clock may be behind


def new_dkg(*, out: Path, **options: Any) -> Roster:
    """Propose to generate a key together; write the folder `out`."""
    policy, terms = _common(**options)
    return _write(Roster(kind="dkg", **terms), out, policy)


def new_split(*, dealer_card: Path, public_key: str, out: Path, **options: Any) -> Roster:
    """Propose to split a key that one dealer has; write the folder `out`."""
    policy, terms = _common(**options)
    dealer = _card(dealer_card)
    rehearsal = terms.pop("rehearsal") or dealer.body.software
    said = SplitTerms(dealer, _public_key(public_key))
    return _write(Roster(kind="split", terms=said, rehearsal=rehearsal, **terms), out, policy)


def new_reshare(
    *,
    previous: Path,
    dealers: Sequence[int],
    cards: Sequence[Path],
    threshold: int,
    policy: Path,
    reason: str,
    valid_for: str,
    out: Path,
) -> Roster:
    """Propose to deal the shares of a group anew; write the folder `out`.

    Raises:
        UsageError: a dealer that the old group does not have, or the same one twice.
        CeremonyError: the old group does not allow it.
    """
    old = read_group(previous)
    indices = shares("--dealer", dealers, old.threshold.n)
    agreed = read_policy(policy)
    if agreed.digest != old.current_policy_digest:
        raise PolicyError(
            "this is not the policy that is in force in the old group",
            hint="a reshare keeps the policy; amend it before or after",
        )
    now = int(time.time())
    members = tuple(_card(path) for path in cards)
    roster = Roster(
        kind="reshare",
        group_name=_name_of(old),
        network=old.network,
        role=old.role,
        threshold=Threshold(threshold, len(members)),
        members=members,
        policy_digest=agreed.digest,
        not_before=now - _CLOCK_SECONDS,
        expires=now + seconds(valid_for),
        nonce=os.urandom(NONCE_BYTES),
        terms=ReshareTerms(
            previous=old.digest,
            group=old.group_id,
            epoch=old.epoch + 1,
            dealers=indices,
            reason=reason,
        ),
        rehearsal=old.rehearsal,
    )
    require_previous(roster, old)
    return _write(roster, out, agreed, old)


def _common(
    *,
    cards: Sequence[Path],
    threshold: int,
    policy: Path,
    name: str,
    role: str,
    network_name: str | None,
    network_file: Path | None,
    valid_for: str,
    rehearsal: bool,
) -> tuple[Policy, dict[str, Any]]:
    agreed = read_policy(policy)
    if not agreed.useful_to(role):
        raise PolicyError(
            f"under this policy a {role} key can sign nothing, and the policy cannot be changed "
            "without every holder"
        )
    now = int(time.time())
    members = tuple(_card(path) for path in cards)
    return agreed, {
        "group_name": name,
        "network": network(network_name, network_file),
        "role": role,
        "threshold": Threshold(threshold, len(members)),
        "members": members,
        "policy_digest": agreed.digest,
        "not_before": now - _CLOCK_SECONDS,
        "expires": now + seconds(valid_for),
        "nonce": os.urandom(NONCE_BYTES),
        "rehearsal": rehearsal or any(card.body.software for card in members),
    }


def _write(roster: Roster, out: Path, policy: Policy, previous: GroupFile | None = None) -> Roster:
    """Check the roster as its readers will, and write the folder, the roster last."""
    checked = Roster.parse(roster.to_bytes())
    require_new(out)
    make_folder(out)
    write_new(out / POLICY, canonical(policy.to_json()) + b"\n")
    if previous is not None:
        write_new(out / PREVIOUS, previous.to_bytes())
    write_new(out / ROSTER, checked.to_bytes())
    return checked


def _card(path: Path) -> Card:
    raw = read_file(path, what="card", max_bytes=MAX_CARD_BYTES)
    return Card.parse_file(raw, f"card {str(path)!r}")


def _public_key(text: str) -> PublicKey:
    try:
        return PublicKey(bytes.fromhex(text.removeprefix("0x")))
    except ValueError:
        raise UsageError("--public-key takes 96 hex digits") from None


def _name_of(group: GroupFile) -> str:
    return f"group {group.group_id.hex()[:8]}"
