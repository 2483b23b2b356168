"""What somebody who convenes a ceremony may lie about, by name: each a small change to a roster."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from signer.bls.scalar import GROUP_ORDER
from signer.ceremony.terms import MAX_OPEN_SECONDS
from signer.messages.card import Card
from signer.messages.networks import HOLESKY, MAINNET
from signer.strict import canonical
from tests.hostile.desk import INFINITY, OUTSIDE
from tests.simulators.holders import make_card, signed_as

_OFF_CURVE = b"\4" + b"\x11" * 64
_DAY = 86400


@dataclass
class Proposal:
    """What a ceremony's folder holds before anybody joins: JSON, to be changed."""

    roster: dict[str, Any]
    policy: dict[str, Any]  # empty: there is none
    previous: dict[str, Any]  # likewise
    old_card: dict[str, Any]  # an earlier one of the first member
    loose: bool = False  # whether the files are in no canonical form

    @property
    def members(self) -> list[dict[str, Any]]:
        """The cards of a roster."""
        return list(self.roster["members"])

    def put(self, place: int, card: dict[str, Any]) -> None:
        """Put another card in the place of a member's, or of the one who returns."""
        if "card" in self.roster:
            self.roster["card"] = card
        else:
            self.roster["members"][place - 1] = card

    def of(self, number: int) -> Card:
        """Return the card of a member, or of a holder of the group that a repair is of."""
        known = self.roster.get("members") or self.previous["holders"]
        return Card.parse(known[number - 1].get("card", known[number - 1]))

    def agree(self) -> None:
        """Name the policy that lies there, and the group file, by their digests."""
        if "policy_digest" in self.roster and self.roster["kind"] != "reshare":
            self.roster["policy_digest"] = hashlib.sha256(canonical(self.policy)).hexdigest()
        terms = self.roster if "previous" in self.roster else self.roster.get("terms") or {}
        if "previous" in terms:
            digest = hashlib.sha256(canonical(self.previous) + b"\n")
            terms["previous"] = digest.hexdigest()

    def files(self) -> dict[str, dict[str, Any]]:
        """Return what he lays into the folder."""
        found = {"roster.json": self.roster, "policy.json": self.policy}
        return {name: value for name, value in (found | {"previous.json": self.previous}).items()
                if value}  # fmt: skip


Lie = Callable[[Proposal], None]


def _says(**changes: Any) -> Lie:
    def lie(proposal: Proposal) -> None:
        proposal.roster.update(changes)

    return lie


def _terms(**changes: Any) -> Lie:
    def lie(proposal: Proposal) -> None:
        proposal.roster["terms"].update(changes)

    return lie


def _network(**changes: Any) -> Lie:
    return _says(network=MAINNET.to_json() | changes)


def _policy(**changes: Any) -> Lie:
    def lie(proposal: Proposal) -> None:
        proposal.policy.update(changes)
        proposal.agree()

    return lie


def _pays(address: str) -> Lie:
    return _policy(addresses=[{"address": address, "label": "treasury", "validators": "any"}])


def _without(name: str) -> Lie:
    def lie(proposal: Proposal) -> None:
        del proposal.roster[name]

    return lie


def _in_time(begins: int, ends: int) -> Lie:
    """Say when it is open, in seconds from when the honest one begins."""

    def lie(proposal: Proposal) -> None:
        begun = proposal.roster["not_before"]
        proposal.roster.update(not_before=begun + begins, expires=begun + ends)

    return lie


def _card(place: int, make: Callable[[Proposal], dict[str, Any]]) -> Lie:
    return lambda proposal: proposal.put(place, make(proposal))


def accomplice(name: str = "Mallory", **changes: Any) -> dict[str, Any]:
    """Return the card of somebody invented, whatever stands on it: he signs it himself."""
    card = make_card(name)
    payload = replace(card.body, **changes).to_payload()
    return signed_as(card.body.id_sign, payload, card.signed.payload_type).to_json()


def _one_identity(proposal: Proposal) -> None:
    first = make_card("Mallory")
    body = replace(first.body, name="Trudy", kex=make_card("x").body.kex)
    second = signed_as(first.body.id_sign, body.to_payload(), first.signed.payload_type)
    proposal.roster["members"][1:3] = [first.to_json(), second.to_json()]


def _identity_for_all(_: Proposal) -> dict[str, Any]:
    card = make_card("Mallory")
    payload = replace(card.body, kex=card.body.id_sign).to_payload()
    return signed_as(card.body.id_sign, payload, card.signed.payload_type).to_json()


def _backup_is_primary(_: Proposal) -> dict[str, Any]:
    kex = make_card("x").body.kex
    return accomplice(kex=kex, kex_backup=kex)


def _altered(proposal: Proposal) -> dict[str, Any]:
    card = make_card("Mallory")
    payload = card.signed.payload.replace(b"Mallory", b"Malachy")
    return replace(card.signed, payload=payload).to_json()


def _numbered(proposal: Proposal) -> dict[str, Any]:
    return {**proposal.members[1], "index": 0}


def _me_twice(proposal: Proposal) -> None:
    proposal.roster["members"].append(proposal.old_card)


def _my_old_card(proposal: Proposal) -> None:
    proposal.roster["members"][0] = proposal.old_card


def _without_me(proposal: Proposal) -> None:
    proposal.roster["members"][0] = accomplice()


def _no_file(name: str) -> Lie:
    def lie(proposal: Proposal) -> None:
        setattr(proposal, name, {})

    return lie


def _group(**changes: Any) -> Lie:
    """Follow another group file: as the true one, but for this."""

    def lie(proposal: Proposal) -> None:
        proposal.previous.update(changes)
        proposal.agree()

    return lie


def _loose(proposal: Proposal) -> None:
    proposal.loose = True


HONEST: Lie = _says()

_EVERY: dict[str, Lie] = {
    "honest": HONEST,
    "over": _in_time(-2 * _DAY, -_DAY),
    "early": _in_time(_DAY, 2 * _DAY),
    "never-open": _in_time(0, 0),
    "ten-years": _in_time(0, 10 * MAX_OPEN_SECONDS),
    "version-2": _says(version=2),
    "version-0": _says(version=0),
    "another-type": _says(type="signer-group"),
    "more": _says(variant="min-pk"),
    "altered-card": _card(2, _altered),
    "kex-off-curve": _card(2, lambda _: accomplice(kex=_OFF_CURVE)),
    "kex-compressed": _card(2, lambda _: accomplice(kex=b"\2" + b"\x11" * 32)),
    "kex-p384": _card(2, lambda _: accomplice(kex=b"\4" + b"\x11" * 96)),
    "kex-infinity": _card(2, lambda _: accomplice(kex=bytes(65))),
    "backup-off-curve": _card(2, lambda _: accomplice(kex_backup=_OFF_CURVE)),
    "identity-off-curve": _card(2, lambda _: accomplice(id_sign=_OFF_CURVE)),
    "identity-for-all": _card(2, _identity_for_all),
    "backup-is-primary": _card(2, _backup_is_primary),
    "name-taken": _card(3, lambda p: accomplice(name=p.of(2).body.name)),
    "bens-key": _card(3, lambda p: accomplice(kex=p.of(2).body.kex)),
    "bens-key-as-spare": _card(3, lambda p: accomplice(kex_backup=p.of(2).body.kex)),
}

_OF_SHARES: dict[str, Lie] = {
    **_EVERY,
    "t-0": _says(threshold=0),
    "t-1": _says(threshold=1),
    "t-over": lambda p: p.roster.update(threshold=len(p.members) + 1),
    "t-65536": _says(threshold=2**16),
    "t-65537": _says(threshold=2**16 + 1),
    "t-text": _says(threshold="2"),
    "nobody": _says(members=[]),
    "alone": lambda p: p.roster.update(members=p.members[:1]),
    "crowd": lambda p: p.roster.update(members=p.members[:1] * 101),
    "numbered": _card(2, _numbered),
    "one-identity": _one_identity,
    "me-twice": _me_twice,
    "my-old-card": _my_old_card,
    "no-rehearsal": _says(rehearsal=False),
    "borrowed-root": _network(genesis_validators_root="0x" + HOLESKY.genesis_validators_root.hex()),
    "root-of-zeros": _network(name="devnet", genesis_validators_root="0x" + "00" * 32),
    "root-of-mainnet": _network(name="devnet"),
    "fork-version": _network(genesis_fork_version="0x03000000"),
    "dst": _says(ciphersuite="BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"),
    "no-role": _without("role"),
    "unknown-role": _says(role="admin"),
    "other-policy": lambda p: p.policy.update(exits="allowed"),
    "no-policy": _no_file("policy"),
    "pays-nobody": _policy(addresses=[]),
    "lets-nothing-through": _policy(addresses="none"),
    "checksum": _pays("0x8c1Ff978036F2e9d7CC382Eff7B4c8c53C22ac16"),
    "ens-name": _pays("pool.eth"),
    "pays-zero": _pays("0x" + "00" * 20),
    "pays-precompile": _pays("0x" + "00" * 19 + "09"),
    "seven-keys": _says(keys=7),
}

_DKG: dict[str, Lie] = {
    **_OF_SHARES,
    "without-me": _without_me,
    "with-terms": _says(terms={"dealers": [1]}),
    "as-split": _says(kind="split"),
}

_SPLIT: dict[str, Lie] = {
    **_OF_SHARES,
    "without-me": _without_me,
    "no-terms": _says(terms=None),
    "key-infinity": _terms(group_public_key=INFINITY.hex()),
    "key-outside": _terms(group_public_key=OUTSIDE.hex()),
    "key-no-point": _terms(group_public_key="ff" * 48),
    "dealer-altered": lambda p: p.roster["terms"].update(dealer=_altered(p)),
    "dealer-with-bens-key": lambda p: p.roster["terms"].update(
        dealer=accomplice(kex=p.of(2).body.kex)
    ),
}

_RESHARE: dict[str, Lie] = {
    **_OF_SHARES,
    "one-dealer": _terms(dealers=[1]),
    "t-dealers": _terms(dealers=[1, 2]),  # t of them, and fewer than n - t + 1
    "strange-dealer": _terms(dealers=[1, 2, 5]),
    "dealer-twice": _terms(dealers=[1, 1, 2]),
    "dealers-unordered": _terms(dealers=[2, 1, 3]),
    "no-dealers": _terms(dealers=[]),
    "dealer-0": _terms(dealers=[0, 1, 2]),
    "dealer-negative": _terms(dealers=[-1, 1, 2]),
    "dealer-101": _terms(dealers=[1, 2, 101]),
    "dealer-r": _terms(dealers=[1, 2, GROUP_ORDER]),
    "dealer-text": _terms(dealers=["1", "2", "3"]),
    "unknown-previous": _terms(previous="11" * 32),
    "no-previous": _no_file("previous"),
    "another-group": _terms(group="11" * 32),
    "epoch-skipped": _terms(epoch=3),
    "epoch-repeated": _terms(epoch=1),
    "another-network": _says(network=HOLESKY.to_json()),
    "another-role": _says(role="validator"),
    "another-policy": lambda p: p.roster.update(policy_digest="11" * 32),
    "not-active": _group(activation=None),
    "another-group-file": _group(certificate=None, activation=None, origin="split"),
    "old-key-of-another": _card(3, lambda p: accomplice(
        kex=Card.parse(p.previous["holders"][1]["card"]).body.kex)),
    "old-identity-as-kex": _card(3, lambda p: accomplice(
        kex=Card.parse(p.previous["holders"][1]["card"]).body.id_sign)),
}  # fmt: skip

_REPAIR: dict[str, Lie] = {
    **_EVERY,
    "no-such-share": _says(lost=5),
    "share-0": _says(lost=0),
    "share-101": _says(lost=101),
    "my-live-share": _says(lost=1, helpers=[2, 3, 4]),
    "lost-one-helps": _says(lost=1),
    "few": _says(helpers=[1]),
    "twice": _says(helpers=[1, 1, 2]),
    "unordered": _says(helpers=[2, 1]),
    "nobody-helps": _says(helpers=[]),
    "helper-0": _says(helpers=[0, 1, 2]),
    "strange-helper": _says(helpers=[1, 2, 5]),
    "unknown-previous": _says(previous="11" * 32),
    "no-previous": _no_file("previous"),
    "another-group": _says(group="11" * 32),
    "another-epoch": _says(epoch=2),
    "no-rehearsal": _says(rehearsal=False),
    "not-active": _group(activation=None),
    "another-group-file": _group(certificate=None, activation=None, origin="split"),
    "lost-key": _card(4, lambda p: accomplice(kex=p.of(4).body.kex)),
    "bens-identity": _card(4, lambda p: accomplice(kex=p.of(2).body.id_sign)),
    "loose": _loose,
}

LIES = {"dkg": _DKG, "split": _SPLIT, "reshare": _RESHARE, "repair": _REPAIR}
