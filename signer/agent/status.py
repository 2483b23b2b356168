"""What an agent says of itself: to whoever may ask, and to whoever counts."""

from typing import Any

from signer import __version__
from signer.agent.metrics import Exposure, Readings
from signer.custody.custodian import Custodian
from signer.custody.token_watch import TokenState


def status_of(
    custodian: Custodian, token: TokenState, exposure: Exposure, *, busy: bool, waiting: int
) -> dict[str, Any]:
    """Return the JSON object of `/v1/status`."""
    desk, journal = custodian.desk, custodian.journal
    group = desk.group
    return {
        "type": "signer-status",
        "version": 1,
        "software": f"threshold-signer {__version__}",
        "group": group.group_id.hex(),
        "network": group.network.name,
        "role": group.role,
        "epoch": group.epoch,
        "origin": group.origin,
        "rehearsal": group.rehearsal,
        "active": group.active,
        "index": int(desk.index),
        "holder": group.card_of(desk.index).body.name,
        "threshold": group.threshold.t,
        "holders_count": group.threshold.n,
        "policy_digest": desk.policy.digest.hex(),
        "journal": {
            "sequence": journal.sequence,
            "head": journal.head.hex(),
            "anchor": custodian.token.profile.journal_anchor,
            "state": journal.state,
        },
        "token": {
            "profile": custodian.token.profile.name,
            "provenance": custodian.token.profile.provenance,
            "label": custodian.token.label,
            "serial": custodian.token.serial,
            "uri": custodian.token.uri,
            "state": token.state,
            "reason": token.reason,
            "since": token.since,
        },
        "exposure": {
            "unseals": exposure.unseals,
            "milliseconds": exposure.milliseconds,
            "longest_milliseconds": exposure.longest_milliseconds,
            "weaknesses": list(exposure.weaknesses),
        },
        "tickets_waiting": waiting,
        "busy": busy,
    }


def readings_of(custodian: Custodian, token: TokenState, *, waiting: int) -> Readings:
    """Return what the metrics page looks up at the moment when it is read."""
    desk, journal = custodian.desk, custodian.journal
    drilled = journal.last_drill
    return Readings(
        token_state=token.state,
        seconds_since_last_drill=(
            None if drilled is None else max(custodian.clock() - drilled, 0.0)
        ),
        journal_sequence=journal.sequence,
        journal_state=journal.state,
        tickets_waiting=waiting,
        info={
            "version": __version__,
            "group": desk.group.group_id.hex(),
            "index": str(int(desk.index)),
            "epoch": str(desk.group.epoch),
            "origin": desk.group.origin,
            "rehearsal": str(desk.group.rehearsal).lower(),
            "active": str(desk.group.active).lower(),
        },
    )
