"""The order to have the token sign what the journal binds. The worker reads the journal itself."""

import time
from pathlib import Path
from typing import Any

from signer.custody.jobs.journal import StateBindings
from signer.custody.journal_file import read_whole_lines
from signer.custody.journal_state import JournalState
from signer.custody.worker.anchoring import Share, compare, is_anchored
from signer.custody.worker.desk_token import session_on
from signer.errors import AnchorError, JournalError
from signer.hsm.keys import identity_key
from signer.hsm.session import TokenSession
from signer.messages.bindings import PAYLOAD_TYPE, Bindings, seal
from signer.messages.dsse import key_id_of, pre_authentication_encoding
from signer.strict import Fields


def state_bindings(fields: Fields) -> dict[str, Any]:
    """Verify the whole journal, hold it against the token's anchor, and sign what it binds.

    Raises:
        JournalError: damaged, empty, older than the anchor, or of another share than it must be.
        AnchorError: E_ANCHOR; or the token knows of a journal where there is said to be none.
    """
    job = StateBindings.parse(fields)
    state = None if job.journal is None else _state_of(job.journal)
    share = _share(job, state)
    statement = Bindings(
        group=share.group_id,
        epoch=_epoch(job, state),
        index=share.number,
        sequence=0 if state is None else state.sequence - 1,
        head=bytes(32) if state is None else state.head,
        changes=() if state is None else tuple(sorted(state.bindings())),
        deposit_credentials=None if state is None else state.deposit_credentials(),
        moment=int(time.time()),
    )
    with session_on(job.token, job.pin) as session:
        if job.journal is None or state is None:
            _require_no_anchor(session, share)
        elif session.profile.journal_anchor == "token" or is_anchored(session, share):
            compare(session, share, job.journal, state.anchored_serials)
        identity = identity_key(session)
        signed = pre_authentication_encoding(PAYLOAD_TYPE, statement.to_payload())
        signature = identity.sign(signed)
    return {"statement": seal(statement, key_id_of(identity.public_point), signature)}


def _state_of(journal: str) -> JournalState:
    state = JournalState(f"journal {journal!r}")
    read_whole_lines(Path(journal), state.replay)
    if state.owner is None:
        raise JournalError(f"the {state.what} is empty")
    if state.generation.needs_history:
        raise JournalError(
            "this journal has not got its own history yet; it cannot vouch for anything",
            code="E_JOURNAL_EMPTY",
        )
    return state


def _epoch(job: StateBindings, state: JournalState | None) -> int:
    """Return the epoch of the journal, or of the share that never had one.

    Raises:
        JournalError: it is not that of the share, and so lacks what was taken over in between.
    """
    meant = None if job.owner is None else job.owner[2]
    if state is not None and meant in (None, state.epoch):
        return state.epoch
    if state is None and meant == 1:
        return meant
    there = "no journal" if state is None else f"the journal is of epoch {state.epoch}"
    raise JournalError(
        f"{there}, the share is of epoch {meant}: what was bound before it is not in it",
        hint="take it over first: signer journal import --ceremony FOLDER",
        code="E_JOURNAL_EMPTY",
    )


def _share(job: StateBindings, state: JournalState | None) -> Share:
    """Return whose journal it is.

    Raises:
        JournalError: another's than the order says.
    """
    meant = None if job.owner is None else Share(*job.owner[:2])
    if state is None or state.owner is None:
        if meant is None:
            raise JournalError("neither a journal nor a share is named")
        return meant
    share = Share(bytes.fromhex(state.owner["group"]), state.owner["index"])
    if meant is not None and share != meant:
        raise JournalError(
            f"the {state.what} is of share {share.number} of group {share.group_id.hex()[:8]}, "
            f"not of share {meant.number} of group {meant.group_id.hex()[:8]}",
            hint="give the journal of your own old share; agent.yaml names it",
        )
    return share


def _require_no_anchor(session: TokenSession, share: Share) -> None:
    """Refuse if the token remembers a journal of this share."""
    if is_anchored(session, share):
        raise AnchorError(
            f"{session.token.describe()} remembers a journal of this share",
            hint="find it, or its backup: what it binds must not be lost",
        )
