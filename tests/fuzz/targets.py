"""What the fuzzers feed: each parser of something that strangers send, and true examples of it.

The invariant of every target: a value, or a `SignerError`; never another exception. What has bytes
of its own comes out as it went in.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from signer.agent.commands import Command
from signer.ceremony.acknowledgement import Acknowledgement
from signer.ceremony.bundle import Bundle
from signer.ceremony.certificate import Certificate
from signer.ceremony.complaint import COMPLAINT
from signer.ceremony.deal import Deal, DealBody
from signer.ceremony.roster import Roster
from signer.ceremony.statement import parse_statement
from signer.custody.journal_state import JournalState
from signer.custody.record import record_line
from signer.errors import SignerError
from signer.hsm.probe.report import ProbeReport
from signer.hsm.uri import TokenUri
from signer.messages.amendment import AmendmentBody
from signer.messages.card import Card
from signer.messages.drill import DrillOrder
from signer.messages.group_file import GroupFile
from signer.messages.items import KIND_DEPOSIT, KIND_VOLUNTARY_EXIT, Deposit, Exit
from signer.messages.networks import parse_network_file
from signer.messages.reply import SignReply
from signer.messages.request import SignRequest
from signer.messages.witness import Witness
from signer.policy.policy import Policy
from signer.sealing.envelope import Envelope
from signer.strict import canonical
from signer.strict_yaml import parse_yaml_object
from signer.threshold.params import ShareIndex
from tests.simulators.ceremony import Gathering
from tests.simulators.desk import desk_of
from tests.simulators.holders import KEY, NOW, SimulatedPool
from tests.simulators.probed import REPORT as PROBED


@dataclass(frozen=True)
class Target:
    """A parser and a few true inputs."""

    parse: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]

    def feed(self, data: bytes) -> None:
        """Parse `data`; anything but a value or an error of ours is a finding."""
        try:
            value = self.parse(data)
        except SignerError:
            return
        if hasattr(value, "to_bytes") and not isinstance(value, int):
            again = self.parse(value.to_bytes())
            assert again.to_bytes() == value.to_bytes(), "it does not come out as it went in"


def _journal(data: bytes) -> None:
    state = JournalState("journal")
    for number, line in enumerate(data.split(b"\n"), 1):
        if line:
            state.replay(line, number)


def _policy(data: bytes) -> Policy:
    policy = Policy.parse(parse_yaml_object(data, what="policy", max_bytes=256 * 1024))
    assert Policy.parse(policy.to_json()).digest == policy.digest
    return policy


def _token_uri(data: bytes) -> TokenUri:
    uri = TokenUri.parse(data.decode("latin-1"), "uri")
    assert TokenUri.parse(str(uri), "uri").serial == uri.serial
    return uri


@functools.cache
def targets() -> dict[str, Target]:
    """Return every target by its name."""
    pool = SimulatedPool.new()
    group = pool.group
    request = pool.request(11, 12, 13)
    leave = SignRequest.new(group, [Exit(7, 300000)], expires=NOW, kind=KIND_VOLUNTARY_EXIT)
    pay = SignRequest.new(group, [Deposit(bytes(32), 10**9)], expires=NOW, kind=KIND_DEPOSIT)
    reply = pool.reply(1, request)
    witness = reply.witness
    assert witness is not None
    opened = {
        "version": 3, "group": group.group_id.hex(), "index": 1, "network": group.network.name,
        "genesis_validators_root": group.network.genesis_validators_root.hex(),
        "epoch": 1, "certificate": "00" * 32, "recovered": False,
    }  # fmt: skip
    first, head = record_line(0, bytes(32), NOW, "OPENED", opened)
    second, head = record_line(1, head, NOW, "POLICY", {"number": 0, "digest": "00" * 32})
    third, _ = record_line(
        2, head, NOW, "EPOCH", {"epoch": 2, "certificate": "01" * 32, "recovered": False}
    )
    policy = canonical(pool.policy.to_json())
    order = DrillOrder(
        group_id=group.group_id, epoch=1, nonce=bytes(32), moment=NOW, expires=NOW + 60
    )
    amendment = AmendmentBody(
        group=group.group_id,
        epoch=1,
        number=1,
        previous=pool.policy.digest,
        policy=pool.policy.to_json(),
    )
    command = Command(
        name="approve", ticket="0" * 16, request=bytes(32), typed=("abcdef", "3")
    ).to_line()
    network = canonical(group.network.to_json() | {
        "type": "signer-network", "version": 1, "name": "devnet-1",
        "genesis_validators_root": "0x" + "5a" * 32,
    })  # fmt: skip
    return _ceremony_targets() | {
        "request": Target(
            SignRequest.parse, (request.to_bytes(), leave.to_bytes(), pay.to_bytes())
        ),
        "reply": Target(lambda data: SignReply.parse(data, request), (reply.to_bytes(),)),
        "journal": Target(_journal, (first + second + third, first)),
        "policy": Target(_policy, (policy,)),
        "witness": Target(Witness.parse, (witness.payload,)),
        "amendment": Target(
            lambda data: AmendmentBody.parse(data, "amendment"), (amendment.to_payload(),)
        ),
        "envelope": Target(Envelope.parse, (desk_of(pool).envelope.to_bytes(),)),
        "command": Target(Command.parse, (command,)),
        "drill order": Target(DrillOrder.parse, (order.to_bytes(),)),
        "card": Target(
            lambda data: Card.parse_file(data, "card"), (canonical(group.cards[0].to_json()),)
        ),
        "group file": Target(
            GroupFile.parse, (group.to_bytes(), SimulatedPool.new(origin="dkg").group.to_bytes())
        ),
        "network": Target(parse_network_file, (network,)),
        "probe report": Target(ProbeReport.parse, (PROBED.to_bytes(),)),
        "token uri": Target(
            _token_uri,
            (b"pkcs11:token=a%20b;serial=1f;slot-id=2?module-path=/m&pin-source=file:/p",),
        ),
    }


def _ceremony_targets() -> dict[str, Target]:
    """Return the targets of a ceremony's files."""
    keys = Gathering.dkg(2, 3)
    deals = {dealer: keys.deal(dealer) for dealer in keys.setting.roster.dealers}
    bundle = Bundle.of(keys.setting.roster, ShareIndex(2), deals, {})
    complaint = keys.complaint(1, 2, "E_DEAL_SHARE", deals[2])
    return {
        "roster": Target(
            Roster.parse,
            (keys.setting.roster.to_bytes(), Gathering.split(KEY).setting.roster.to_bytes()),
        ),
        "deal": Target(Deal.parse, (deals[1].to_bytes(),)),
        "deal body": Target(lambda data: DealBody.parse(data, "d"), (deals[1].signed.payload,)),
        "bundle": Target(Bundle.parse, (bundle.to_bytes(),)),
        "certificate": Target(Certificate.parse, (keys.certificate().to_bytes(),)),
        "acknowledgement": Target(Acknowledgement.parse, (keys.acknowledgement(1).to_bytes(),)),
        "statement": Target(
            lambda data: parse_statement(data, COMPLAINT, "s"), (canonical(complaint.to_json()),)
        ),
    }
