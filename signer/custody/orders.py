"""The orders a person gives at his desk, each done by a worker and read back as a value."""

import contextlib
import os
import signal
import termios
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from signer.custody.custodian import module_environment
from signer.custody.jobs import Job
from signer.custody.jobs.amending import SignAmendment
from signer.custody.jobs.journal import StateBindings
from signer.custody.jobs.shares import VerifyShare
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.jobs.splitting import SplitKey
from signer.custody.jobs.tokens import ListTokens, MakeCard, SetUpToken
from signer.custody.worker_process import run_worker
from signer.errors import PinError, UsageError
from signer.messages.amendment import MAX_PAYLOAD_BYTES
from signer.messages.amendment import PAYLOAD_TYPE as AMENDMENT_TYPE
from signer.messages.card import Attestation, Card
from signer.messages.dsse import SignedFile
from signer.messages.group_file import GroupFile
from signer.strict import Fields
from signer.threshold.params import MAX_HOLDERS

_PERSON_SECONDS = 300.0  # a person types PINs and words meanwhile; tokens generate keys slowly
_TTY = "/dev/tty"
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A present token, as `signer token list` shows it."""

    label: str
    serial: str
    manufacturer: str
    model: str
    initialized: bool
    pin_state: str  # ok, low, final try, locked
    profile: str | None  # the profile that was meant, if it describes it
    described_by: str | None  # that one, or the packaged one that does; None: no profile does
    proven: bool | None  # whether by that profile it can prove where its keys were made
    uri: str | None  # RFC 7512; None where nothing names it
    meant: bool  # whether the choice that was given is this one


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysMade:
    """What `signer token setup` found and did."""

    made: tuple[str, ...]  # labels of keys that were absent
    present: tuple[str, ...]  # labels of keys that were there before


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitResult:
    """A group file and one sealed envelope for each holder, in index order."""

    group: GroupFile
    envelopes: tuple[bytes, ...]


def list_tokens(token: TokenChoice, *, seconds: float = _PERSON_SECONDS) -> list[TokenRow]:
    """List the tokens that the profile's module shows; after `seconds` it is given up."""
    result = run_worker(
        ListTokens(token=token),
        environment=module_environment(token.profile.environment),
        seconds=seconds,
    )
    rows = []
    for entry in result.array("tokens", low=0, high=1000):
        fields = Fields(entry, "token")
        rows.append(
            TokenRow(
                label=fields.take("label"),
                serial=fields.take("serial"),
                manufacturer=fields.take("manufacturer"),
                model=fields.take("model"),
                initialized=fields.boolean("initialized"),
                pin_state=fields.take("pin_state"),
                profile=fields.take("profile"),
                described_by=fields.take("described_by"),
                proven=fields.take("proven"),
                uri=fields.take("uri"),
                meant=fields.boolean("meant"),
            )
        )
        fields.done()
    return rows


def set_up_token(token: TokenChoice, pin: SecretSource | None) -> KeysMade:
    """Make the holder's keys where they are absent; never erases."""
    with pin_source(pin) as (pin, terminals):
        result = _order(SetUpToken(token=token, pin=pin), token, terminals)
    return KeysMade(
        made=tuple(result.array("made", low=0, high=8)),
        present=tuple(result.array("present", low=0, high=8)),
    )


def make_card(
    token: TokenChoice,
    pin: SecretSource | None,
    name: str,
    created: int,
    *,
    fresh_key: bool = False,
    kex: str | None = None,
    spare: bytes | None = None,
    attestation: Attestation | None = None,
) -> Card:
    """Return the holder's card, signed on his token and verified here.

    Args:
        token: his token.
        pin: where its PIN is; None is the terminal.
        name: as others know him.
        created: Unix seconds.
        fresh_key: make another receiving key for this card; the others stay.
        kex: else the fingerprint of the receiving key that is meant, 16 hex digits.
        spare: the bytes of his spare token's card; its receiving key goes into this one.
        attestation: what the vendor says of the token's keys.
    """
    with pin_source(pin) as (pin, terminals):
        job = MakeCard(
            token=token,
            pin=pin,
            name=name,
            created=created,
            fresh_key=fresh_key,
            kex=kex,
            spare=None if spare is None else _text(spare),
            attestation=attestation,
        )
        result = _order(job, token, terminals)
    return Card.parse(result.take("card"), "card")


def split_key(job: SplitKey, terminals: Sequence[int] = ()) -> SplitResult:
    """Split a key; return the public group file and the sealed envelopes."""
    result = run_worker(job, environment={}, seconds=_PERSON_SECONDS, terminals=terminals)
    envelopes = tuple(
        str(text).encode() for text in result.array("envelopes", low=1, high=len(job.cards))
    )
    return SplitResult(
        group=GroupFile.parse(str(result.take("group")).encode()), envelopes=envelopes
    )


def verify_share(
    token: TokenChoice,
    pin: SecretSource | None,
    group: bytes,
    envelope: bytes,
    card: bytes | None = None,
) -> int:
    """Unseal a share on the token and prove it against the group file; return its index.

    `card` is the token's own, if it is a spare.
    """
    with pin_source(pin) as (pin, terminals):
        job = VerifyShare(
            token=token,
            pin=pin,
            group=_text(group),
            envelope=_text(envelope),
            card=None if card is None else _text(card),
        )
        return _order(job, token, terminals).integer("index", low=1, high=2**16)


def sign_amendment(
    token: TokenChoice, pin: SecretSource | None, group: bytes, amendment: bytes
) -> tuple[int, SignedFile]:
    """Have the holder's token sign an amendment of the policy; return his index and signature."""
    with pin_source(pin) as (pin, terminals):
        job = SignAmendment(token=token, pin=pin, group=_text(group), amendment=_text(amendment))
        result = _order(job, token, terminals)
    signature = SignedFile.parse(
        result.take("signature"),
        "signature",
        payload_type=AMENDMENT_TYPE,
        max_payload=MAX_PAYLOAD_BYTES,
    )
    return result.integer("index", low=1, high=MAX_HOLDERS), signature


def state_bindings(
    token: TokenChoice,
    pin: SecretSource | None,
    journal: Path | None,
    owner: tuple[bytes, int, int] | None = None,
) -> dict[str, Any]:
    """Return the token's signed statement of what the journal binds, as a JSON object.

    Args:
        token: the holder's.
        pin: where its PIN is; None is the terminal.
        journal: None: there never was one; then the statement says that nothing is bound.
        owner: group id, share index and epoch that the journal must be of.
    """
    path = None if journal is None else str(journal.absolute())
    with pin_source(pin) as (pin, terminals):
        job = StateBindings(token=token, pin=pin, journal=path, owner=owner)
        statement = _order(job, token, terminals).take("statement")
    return statement if isinstance(statement, dict) else {}


@contextlib.contextmanager
def pin_source(pin: SecretSource | None) -> Iterator[tuple[SecretSource, tuple[int, ...]]]:
    """Yield where the worker gets the PIN: as `pin` says, else from this process's terminal.

    Raises:
        PinError: there is no terminal to ask on.
    """
    if pin is not None and pin.chosen:
        yield pin, pin.descriptors
        return
    with terminal("a PIN", "--pin-file FILE") as descriptor:
        final_try = pin is not None and pin.final_try
        yield SecretSource(terminal=descriptor, final_try=final_try), (descriptor,)


@contextlib.contextmanager
def terminal(what: str, instead: str) -> Iterator[int]:
    """Yield a descriptor of the terminal; its settings are as before afterwards, whatever comes."""
    try:
        descriptor = os.open(_TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        kind = PinError if what == "a PIN" else UsageError
        raise kind(f"no terminal to ask for {what} on", hint=f"give {instead}") from None
    settings = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _interrupt) for number in _ENDING_SIGNALS}
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        os.close(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def _order(job: Job, token: TokenChoice, terminals: Sequence[int] = ()) -> Fields:
    return run_worker(
        job,
        environment=module_environment(token.profile.environment),
        seconds=_PERSON_SECONDS,
        terminals=terminals,
    )


def _text(raw: bytes) -> str:
    """Return file bytes as the text an order carries; what is not UTF-8 cannot parse anyway."""
    return raw.decode("utf-8", errors="replace")
