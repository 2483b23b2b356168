"""What waits for the holder, decoded in his own process.

What the agent sends is a stranger's bytes until they are parsed here and held against the holder's
own group file and policy.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.agent.commands import SHOW, Command
from signer.agent.config import AgentConfig
from signer.agent.control_client import tell
from signer.agent.tickets import ID_HEX
from signer.custody.desk import Desk
from signer.custody.journal_state import Signed
from signer.errors import AgentError
from signer.messages.address import ExecutionAddress
from signer.messages.confirmation import twelve_words
from signer.messages.drill import DrillOrder, require_open
from signer.messages.items import Change, Exit
from signer.messages.reply import CODE_PATTERN, Denial
from signer.messages.request import SignRequest
from signer.messages.review import Knowledge, challenge, request_text
from signer.policy.decision import check_request
from signer.strict import MAX_INTEGER, Fields

_MAX_HISTORY = 1000  # signatures of before that are shown for one validator


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What there is to approve, decoded."""

    digest: bytes
    text: str
    prompts: tuple[str, ...]  # what the person has to type, each asked for by itself
    right: Callable[[Sequence[str]], bool]  # takes the lines that were typed
    words: str  # twelve; empty where there are none
    asks_pin: bool


def show_ticket(settings: AgentConfig, control: Path, ticket: str) -> Shown:
    """Have the agent show the ticket, and decode it here."""
    answer = tell(control, Command(name=SHOW, ticket=ticket))
    row = ticket_row(answer)
    content = answer.take("content")
    if row["ticket"] != ticket or not isinstance(content, str):
        raise AgentError("the agent showed something else than was asked for")
    if row["state"] != "waiting":
        raise AgentError(f"ticket {ticket} does not wait: it is {row['state']}", code="E_TICKET")
    desk = Desk.lay(settings.group, settings.policy, settings.envelope)
    if row["purpose"] == "drill":
        return _shown_drill(desk, content.encode(), row, answer)
    return _shown_request(desk, content.encode(), row, answer)


def _shown_drill(desk: Desk, raw: bytes, row: dict[str, Any], answer: Fields) -> Shown:
    order = DrillOrder.parse(raw)
    _require_same(order.digest, row)
    require_open(order, desk.group, int(time.time()))
    return Shown(
        digest=order.digest,
        text="A drill: your token opens your share and signs in the drill domain.\n"
        "No Ethereum signature can come of it.\n\n"
        f"order        {twelve_words(order.digest)}",
        prompts=('Type "drill" to say yes: ',),
        right=lambda typed: tuple(typed) == ("drill",),
        words=twelve_words(order.digest),
        asks_pin=answer.boolean("asks_pin"),
    )


def _shown_request(desk: Desk, raw: bytes, row: dict[str, Any], answer: Fields) -> Shown:
    request = SignRequest.parse(raw)
    _require_same(request.digest, row)
    check_request(request, desk.group, desk.policy, now=int(time.time()), asker=row["uid"])
    history = _history(answer)
    known = Knowledge(
        group=desk.group,
        labels=desk.policy.labels,
        credentials=desk.policy.deposits.labels if desk.policy.deposits else {},
        before=lambda index: history.get(index, ()),
        denied=_denials(answer, len(request.items)),
    )
    asked = challenge(request)
    return Shown(
        digest=request.digest,
        text=request_text(request, known),
        prompts=tuple(f"{part.prompt}: " for part in asked.parts),
        right=asked.matches,
        words=asked.words,
        asks_pin=answer.boolean("asks_pin"),
    )


def _denials(answer: Fields, count: int) -> list[Denial]:
    """Return what the agent would not sign of the request, by its policy and journal."""
    denials = []
    for entry in answer.array("denied", low=0, high=count):
        fields = Fields(entry, "denial")
        position = fields.integer("item", low=0, high=count - 1)
        code = fields.string("code", pattern=CODE_PATTERN)
        denials.append(
            Denial(position, code, fields.string("reason", pattern=r"[ -~]*", max_length=300))
        )
        fields.done()
    return denials


def _require_same(digest: bytes, row: dict[str, Any]) -> None:
    if digest.hex() != row["request"] or digest.hex()[:ID_HEX] != row["ticket"]:
        raise AgentError("the agent showed another request than its ticket is about")


def _history(answer: Fields) -> dict[int, list[Signed]]:
    """Return what the journal says was signed before, by validator index."""
    value = answer.take("history")
    if not isinstance(value, dict):
        answer.fail("history", "must be an object")
    history: dict[int, list[Signed]] = {}
    for name, entries in value.items():
        if not name.isascii() or not name.isdigit() or not isinstance(entries, list):
            answer.fail("history", "must be lists by validator index")
        history[int(name)] = [_signed(int(name), entry) for entry in entries[:_MAX_HISTORY]]
    return history


def _signed(index: int, value: Any) -> Signed:
    fields = Fields(value, "signature of before")
    moment = fields.integer("moment", low=0, high=MAX_INTEGER)
    if fields.has("address"):
        address = ExecutionAddress.parse(fields.take("address"), "signature of before")
        fields.done()
        return Signed(moment, Change(index, address))
    epoch = fields.integer("epoch", low=0, high=MAX_INTEGER)
    fields.done()
    return Signed(moment, Exit(index, epoch))


def ticket_row(fields: Fields) -> dict[str, Any]:
    """Return what every answer says of a ticket, parsed."""
    return {
        "ticket": fields.string("ticket", pattern=r"[0-9a-f]{16}"),
        "state": fields.string("state", pattern=r"[a-z]{1,16}"),
        "purpose": fields.choice("purpose", ("sign", "drill")),
        "request": fields.hex_bytes("request", 32).hex(),
        "uid": fields.integer("uid", low=0, high=2**32 - 1),
        "kind": fields.string("kind", pattern=r"[a-z_]{1,64}"),
        "items": fields.integer("items", low=0, high=2**20),
        "asked": fields.integer("asked", low=0, high=MAX_INTEGER),
        "expires": fields.integer("expires", low=0, high=MAX_INTEGER),
    }
