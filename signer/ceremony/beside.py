"""What lies beside a certificate that holds: files of the rounds before it, each read by itself.

Nothing of it changes what the certificate stands for. A file is told of by what is wrong with it:
it may be damaged, of another ceremony, or a second statement of its signer. The same statement
under another signature of the same key is no second one: anybody can turn an ECDSA signature
(r, s) into (r, n - s).
"""

import re

from signer.ceremony.agreement import DEALER, MEMBER, agreeing, open_agreement
from signer.ceremony.agreement import KIND as AGREEMENT
from signer.ceremony.board import Board, Problem
from signer.ceremony.checking import check_deal
from signer.ceremony.deal import Deal
from signer.ceremony.statement import parse_statement
from signer.ceremony.union import require_stated_by
from signer.errors import CeremonyError, DealError, SignerError
from signer.messages.bindings import MAX_BYTES as MAX_BINDINGS_BYTES
from signer.messages.bindings import MAX_PAYLOAD as MAX_BINDINGS
from signer.messages.bindings import PAYLOAD_TYPE as BINDINGS_TYPE
from signer.messages.dsse import SignedFile
from signer.strict import parse_object

_NAME = re.compile(r"(deal|agree|bindings)-(dealer-)?(\d{1,3})(?:-[a-z0-9]{1,8})?\.json")
_OTHER = "it is not what the certificate holds"


def problem_beside(board: Board, name: str, raw: bytes) -> Problem | None:
    """Return what is wrong with a file beside a certificate; None: it says what that holds.

    Args:
        board: what the certificate shows.
        name: of the file, which begins with `deal-`, `agree-` or `bindings-`.
        raw: its bytes.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return Problem(name, "E_TRANSCRIPT", _OTHER)
    kind, role, number = match[1], DEALER if match[2] else MEMBER, int(match[3])
    try:
        if kind == "agree":
            same = _is_agreement(board, name, raw, role, number)
        else:
            if number not in board.setting.roster.dealers:
                raise CeremonyError(f"{name}: nobody of this roster has this number")
            is_same = _is_deal if kind == "deal" else _is_statement
            same = is_same(board, name, raw, number)
    except DealError:  # he signed it for this ceremony, and the certificate holds another
        same = False
    except SignerError as error:
        return Problem(name, error.code, error.message)
    return None if same else Problem(name, "E_TRANSCRIPT", _OTHER)


def _is_deal(board: Board, name: str, raw: bytes, dealer: int) -> bool:
    deal = Deal.parse(raw, name)
    check_deal(deal, board.setting, dealer)
    return deal.digest == board.deals[dealer].digest


def _is_agreement(board: Board, name: str, raw: bytes, role: str, index: int) -> bool:
    if (role, index) not in agreeing(board.setting):
        raise CeremonyError(f"{name}: nobody of this roster has this number")
    signed = parse_statement(raw, AGREEMENT, name)
    open_agreement(signed, board.setting, role, index, name)
    return signed.payload == board.agreements[role, index].payload


def _is_statement(board: Board, name: str, raw: bytes, dealer: int) -> bool:
    value = parse_object(raw, what=name, max_bytes=MAX_BINDINGS_BYTES)
    signed = SignedFile.parse(value, name, payload_type=BINDINGS_TYPE, max_payload=MAX_BINDINGS)
    if board.setting.previous is None:
        raise CeremonyError(f"{name}: only a reshare takes over bindings", code="E_BINDINGS")
    require_stated_by(signed, board.setting, dealer)
    return signed.payload == board.bindings[dealer].payload
