"""The order to have the token sign what the journal binds. The worker reads the journal itself."""

import time
from pathlib import Path
from typing import Any

from signer.custody.jobs.journal import StateBindings
from signer.custody.journal_file import read_whole_lines
from signer.custody.journal_state import JournalState
from signer.custody.worker.anchoring import Share, compare, is_anchored
from signer.custody.worker.desk_token import session_on
from signer.errors import JournalError
from signer.hsm.keys import identity_key
from signer.messages.bindings import PAYLOAD_TYPE, Bindings, seal
from signer.messages.dsse import key_id_of, pre_authentication_encoding
from signer.strict import Fields


def state_bindings(fields: Fields) -> dict[str, Any]:
    """Verify the whole journal, hold it against the token's anchor, and sign what it binds.

    Raises:
        JournalError: damaged, empty, or older than the anchor.
        AnchorError: E_ANCHOR.
    """
    job = StateBindings.parse(fields)
    state = JournalState(f"journal {job.journal!r}")
    read_whole_lines(Path(job.journal), state.replay)
    if state.owner is None:
        raise JournalError(f"the {state.what} is empty")
    if state.needs_history:
        raise JournalError(
            "this journal has not got its own history yet; it cannot vouch for anything",
            code="E_JOURNAL_EMPTY",
        )
    share = Share(bytes.fromhex(state.owner["group"]), state.owner["index"])
    statement = Bindings(
        group=share.group_id,
        index=share.number,
        sequence=state.sequence - 1,
        head=state.head,
        changes=tuple(sorted(state.bindings())),
        deposit_credentials=state.deposit_credentials(),
        moment=int(time.time()),
    )
    with session_on(job.token, job.pin) as session:
        if session.profile.journal_anchor == "token" or is_anchored(session, share):
            compare(session, share, job.journal, state.anchored_serials)
        identity = identity_key(session)
        signed = pre_authentication_encoding(PAYLOAD_TYPE, statement.to_payload())
        signature = identity.sign(signed)
    return {"statement": seal(statement, key_id_of(identity.public_point), signature)}
