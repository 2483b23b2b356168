"""The order to sign a new version of the policy, with the identity key on the holder's card."""

from typing import Any

from signer.custody.jobs.amending import SignAmendment
from signer.custody.worker.desk_token import session_on
from signer.errors import CardError, TokenError
from signer.hsm.keys import identity_key
from signer.messages.amendment import PAYLOAD_TYPE, AmendmentBody
from signer.messages.dsse import SignedFile, key_id_of, pre_authentication_encoding
from signer.messages.group_file import GroupFile
from signer.policy.amending import require_amendment
from signer.strict import Fields


def sign_amendment(fields: Fields) -> dict[str, Any]:
    """Sign the amendment if it follows what the group has agreed on so far.

    Raises:
        PolicyError: it does not follow, or its policy is not in canonical form.
        CardError: the token is no holder's of this group.
    """
    job = SignAmendment.parse(fields)
    group = GroupFile.parse(job.group.encode())
    body = AmendmentBody.parse(job.amendment.encode())
    require_amendment(group, body)
    with session_on(job.token, job.pin) as session:
        identity = identity_key(session)
        if identity.public_point not in group.id_signs:
            raise CardError(
                "this token's identity key is on no card of the group file",
                hint="take your own token, and the group file of this group",
            )
        payload = body.to_payload()
        signature = identity.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    signed = SignedFile(PAYLOAD_TYPE, payload, key_id_of(identity.public_point), signature)
    if not signed.signed_by(identity.public_point):
        raise TokenError("the token's signature does not verify under its own key")
    index = group.id_signs.index(identity.public_point) + 1
    return {"index": index, "signature": signed.to_json()}
