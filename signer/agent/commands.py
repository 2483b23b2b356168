"""What a holder may tell his agent over the private control socket, and what comes back.

One line of JSON each way, then the connection ends. With `approve`, and with nothing else, the read
end of a pipe may travel (SCM_RIGHTS) from which the worker will read the PIN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from signer.agent.tickets import ID_HEX
from signer.errors import AgentError, SchemaError, SignerError, revive
from signer.messages.reply import CODE_PATTERN
from signer.strict import Fields, canonical, parse_object

MAX_COMMAND_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 48 * 1024 * 1024  # a request of 8 MiB as a JSON string, and its denials
MAX_TYPED = 4
_TEXT = r"[ -~]*"

PENDING, SHOW, APPROVE, DENY = "pending", "show", "approve", "deny"
UNLATCH, STATUS = "unlatch", "status"
NAMES = (PENDING, SHOW, APPROVE, DENY, UNLATCH, STATUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. Which of its parts there are depends on its name."""

    name: str
    ticket: str | None = None  # show, approve, deny
    request: bytes | None = None  # approve, deny: digest of what the person saw
    typed: tuple[str, ...] = ()  # approve: what the person typed, part by part …
    words: str = ""  # … or the request's twelve words
    final_try: bool = False  # approve: the token's last try may be spent
    reason: str = ""  # deny: a code

    def to_line(self) -> bytes:
        """Return the line."""
        value: dict[str, Any] = {"version": 1, "command": self.name}
        if self.name in (SHOW, APPROVE, DENY):
            value["ticket"] = self.ticket
        if self.name in (APPROVE, DENY):
            value["request"] = None if self.request is None else self.request.hex()
        if self.name == APPROVE:
            value |= {"typed": list(self.typed), "words": self.words}
            value["final_try"] = self.final_try
        if self.name == DENY:
            value["reason"] = self.reason
        return canonical(value) + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the line, strictly.

        Raises:
            SchemaError: it is no command.
        """
        what = "command"
        fields = Fields(parse_object(line, what=what, max_bytes=MAX_COMMAND_BYTES), what)
        fields.constant("version", 1)
        name = fields.choice("command", NAMES)
        ticket = request = None
        if name in (SHOW, APPROVE, DENY):
            ticket = fields.string("ticket", pattern=rf"[0-9a-f]{{{ID_HEX}}}", max_length=ID_HEX)
        if name in (APPROVE, DENY):
            request = fields.hex_bytes("request", 32)
        typed, words, final_try = _answer_of(fields) if name == APPROVE else ((), "", False)
        reason = ""
        if name == DENY:
            reason = fields.string("reason", pattern=CODE_PATTERN, max_length=32)
        fields.done()
        return cls(
            name=name,
            ticket=ticket,
            request=request,
            typed=typed,
            words=words,
            final_try=final_try,
            reason=reason,
        )


def _answer_of(fields: Fields) -> tuple[tuple[str, ...], str, bool]:
    entries = fields.array("typed", low=0, high=MAX_TYPED)
    typed = tuple(
        Fields({"typed": entry}, fields.what).string("typed", pattern=_TEXT, max_length=64)
        for entry in entries
    )
    words = fields.string("words", pattern=_TEXT, max_length=200)
    if bool(typed) == bool(words):
        fields.fail("typed", "or 'words' must be given, not both")
    return typed, words, fields.boolean("final_try")


def answer_line(value: Mapping[str, Any]) -> bytes:
    """Return the line that answers a command which was carried out."""
    return canonical({"version": 1, "ok": value}) + b"\n"


def error_line(error: SignerError) -> bytes:
    """Return the line that says why it was not."""
    words = {
        "kind": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
    }
    return canonical({"version": 1, "error": words}) + b"\n"


def open_answer(line: bytes) -> Fields:
    """Return what a command brought.

    Raises:
        SignerError: what the agent raised, as if it had been raised here.
        AgentError: no answer of this protocol.
    """
    try:
        fields = Fields(
            parse_object(line, what="agent's answer", max_bytes=MAX_ANSWER_BYTES), "agent's answer"
        )
        fields.constant("version", 1)
        if not fields.has("error"):
            result = fields.nested("ok")
            fields.done()
            return result
        error = fields.nested("error")
        kind, code, message, hint = (
            error.string(name, pattern=r"[^\x00]*", max_length=4096)
            for name in ("kind", "code", "message", "hint")
        )
        error.done()
        fields.done()
    except SchemaError as trouble:
        raise AgentError(trouble.message, hint="is it this version's agent?") from None
    raise revive(kind, message, hint, code)
