"""The way to an amended policy: propose it, judge it, put everybody's signature under it."""

from collections.abc import Sequence
from dataclasses import replace

from signer.errors import PolicyError
from signer.messages.amendment import PAYLOAD_TYPE, AmendmentBody
from signer.messages.dsse import Signature, SignedFile
from signer.messages.group_file import MAX_BYTES, GroupFile
from signer.policy.policy import Policy


def propose(group: GroupFile, policy: Policy) -> AmendmentBody:
    """Return the amendment that would bring `policy` into force. Nobody has signed it yet.

    Raises:
        PolicyError: it is in force already.
    """
    body = AmendmentBody(
        group=group.group_id,
        epoch=group.epoch,
        number=group.amendment_number + 1,
        previous=group.current_policy_digest,
        policy=policy.to_json(),
    )
    require_amendment(group, body)
    return body


def require_amendment(group: GroupFile, body: AmendmentBody) -> Policy:
    """Return the new policy of an amendment that follows what the group has agreed on so far.

    Raises:
        SchemaError: its policy is none.
        PolicyError: it does not follow, changes nothing, or spells its policy in another than the
            canonical form, which would have another digest wherever it is read.
    """
    group.chain.require_next(group.amendments, body)
    policy = Policy.parse(body.policy, "amendment: policy")
    if policy.digest != body.policy_digest:
        raise PolicyError(
            "amendment: its policy is not in canonical form",
            hint="have it made by: signer policy amend",
        )
    if policy.digest == group.current_policy_digest:
        raise PolicyError("this policy is in force already; there is nothing to sign")
    return policy


def adopt(group: GroupFile, body: AmendmentBody, signed: Sequence[SignedFile]) -> GroupFile:
    """Return the group file with the amendment in force, if every holder has signed it.

    Args:
        group: the group file before.
        body: the amendment.
        signed: each holder's file, in any order.

    Raises:
        PolicyError: a file is of another amendment, of no holder, does not verify or stands twice,
            or holders are missing, who are named.
    """
    require_amendment(group, body)
    names = {card.body.id_sign: card.body.name for card in group.current_cards}
    found: dict[bytes, Signature] = {}
    for number, file in enumerate(signed, start=1):
        point = next((point for point in names if file.signed_by(point)), None)
        if file.payload_type != PAYLOAD_TYPE or file.payload != body.to_payload():
            raise PolicyError(f"signature {number} is of another amendment")
        if point is None:
            raise PolicyError(f"signature {number} is no holder's, or does not verify")
        if point in found:
            raise PolicyError(f"signature {number}: {names[point]} has signed twice")
        found[point] = Signature(file.key_id, file.signature)
    missing = [name for point, name in names.items() if point not in found]
    if missing:
        raise PolicyError(
            f"signatures are missing, of {', '.join(missing)}",
            hint="each holder signs the amendment: signer policy sign",
        )
    amendment = group.chain.join(group.amendments, body, list(found.values()))
    adopted = replace(group, amendments=(*group.amendments, amendment))
    if len(adopted.to_bytes()) > MAX_BYTES:
        raise PolicyError("the group file would be too large; a new epoch starts a new chain")
    return adopted
