"""The transcript, computed once more from its description: signer and checker share the code."""

import hashlib

import pytest

from signer.ceremony.certificate import certificate_digest
from signer.messages.items import Change
from signer.strict import canonical
from tests.simulators.ceremony import Gathering
from tests.simulators.holders import ADDRESS
from tests.unit.ceremony.honest import dkg

UNION = {
    "type": "signer-bindings-union", "version": 1, "deposit_credentials": None,
    "changes": [{"to_execution_address": ADDRESS.wire, "validator_indices": [4, 7]}],
}  # fmt: skip


def transcript(gathering: Gathering, union: bytes) -> bytes:
    outcome = gathering.outcome()
    vector = outcome.vector
    text = b"signer/transcript/v1"
    text += hashlib.sha256(canonical(gathering.setting.roster.to_json())).digest()
    for dealer in gathering.setting.roster.dealers:
        text += hashlib.sha256(gathering.deal(dealer).signed.payload).digest()
    text += union + bytes(vector.commitments[0])
    for index in gathering.setting.roster.indices:
        text += bytes(vector.public_share(index))
    return hashlib.sha256(text).digest()


@pytest.mark.parametrize("kind", ["dkg", "reshare"])
def test_it_is_over_everything_that_people_agree_to(kind: str) -> None:
    made, union = dkg(), bytes(32)
    if kind == "reshare":
        made = dkg().reshare(2, changes=(Change(7, ADDRESS), Change(4, ADDRESS)))
        union = hashlib.sha256(canonical(UNION)).digest()
    outcome = made.outcome()
    assert outcome.transcript == transcript(made, union)
    value = {
        "type": "signer-certificate-digest", "version": 1, "origin": "dkg", "rehearsal": False,
        "ceremony": made.setting.roster.id.hex(), "transcript": outcome.transcript.hex(),
    }  # fmt: skip
    assert certificate_digest(outcome) == hashlib.sha256(canonical(value)).digest()
