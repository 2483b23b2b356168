"""What a participant's own machine remembers of a ceremony: everything he has signed, and no more.

Whatever leaves is written here first, durably. So a ceremony that was interrupted anywhere goes on
with the same bytes: nobody deals twice, nobody agrees twice. The session seed lies here sealed to
the holder's token.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signer.ceremony.agreement import KIND as AGREEMENT
from signer.ceremony.deal import Deal
from signer.ceremony.repair_roster import RepairRoster
from signer.ceremony.roster import ReshareTerms, Roster, SplitTerms
from signer.ceremony.statement import parse_statement
from signer.ceremony.steps import Me, Memory
from signer.errors import CeremonyError, InputError, OutputError
from signer.files import make_folder, read_file, write_new, write_over
from signer.strict import Fields, canonical, parse_object
from signer.threshold.params import MAX_HOLDERS, ShareIndex

_MAX_BYTES = 16 * 1024 * 1024
_JOINED = "joined.json"
DEALT, COMPLAINT = "dealt.json", "complaint.json"
AGREEMENTS, ACKNOWLEDGEMENT, ENVELOPE = "agreements.json", "ack.json", "envelope.json"
CERTIFICATE, RECEIPT = "certificate.json", "destroyed.json"


@dataclass(frozen=True, slots=True)
class CeremonyState:
    """The state folder of one participant in one ceremony."""

    path: Path
    roster: Roster | RepairRoster

    @classmethod
    def of(cls, state: Path, roster: Roster | RepairRoster) -> "CeremonyState":
        """Return where `state` keeps this ceremony, whether or not it was joined."""
        return cls(state / f"ceremony-{roster.id.hex()[:16]}", roster)

    def join(self, me: Me, moment: int) -> None:
        """Remember that the holder has compared the fingerprint and takes part.

        Raises:
            OutputError: it cannot be written, or was joined before.
            CeremonyError: his receiving key or the nonce was used in another ceremony.
        """
        make_folder(self.path.parent, mode=0o700)
        self._require_fresh(me, moment)
        if self.get(_JOINED) is not None:
            raise CeremonyError(
                "this ceremony was joined before with this state folder",
                hint="go on: signer ceremony next",
                code="E_CEREMONY_STATE",
            )
        make_folder(self.path, mode=0o700)
        value = {
            "type": "signer-ceremony-joined",
            "version": 1,
            "ceremony": self.roster.id.hex(),
            "nonce": self.roster.nonce.hex(),
            "kex": self._kex(me),
            "member": None if me.member is None else int(me.member),
            "dealer": me.dealer,
            "old": me.old,
            "follows": self._follows(),
            "expires": self.roster.expires,
            "moment": moment,
        }
        self.keep(_JOINED, canonical(value) + b"\n")

    def me(self) -> Me:
        """Return who the holder is in this ceremony.

        Raises:
            CeremonyError: E_CEREMONY_STATE: he has not joined.
        """
        raw = self.get(_JOINED)
        if raw is None:
            raise CeremonyError(
                "this ceremony was not joined with this state folder",
                hint="signer ceremony join FOLDER --state STATE --card CARD",
                code="E_CEREMONY_STATE",
            )
        fields = Fields(parse_object(raw, what=_JOINED, max_bytes=4096), _JOINED)
        fields.constant("type", "signer-ceremony-joined")
        fields.constant("version", 1)
        if fields.hex_bytes("ceremony", 32) != self.roster.id:
            raise CeremonyError("the state folder is of another ceremony", code="E_CEREMONY_STATE")
        for name in ("nonce", "kex", "follows", "expires", "moment"):
            fields.take(name)
        member, dealer, old = (_optional(fields, name) for name in ("member", "dealer", "old"))
        fields.done()
        return Me(None if member is None else ShareIndex(member), dealer, old)

    def memory(self) -> Memory:
        """Return what was done so far."""
        dealt = self.dealt()
        agreements = self.agreements()
        transcript = None
        if agreements:
            signed = parse_statement(canonical(agreements[0]), AGREEMENT, AGREEMENTS)
            said = Fields(parse_object(signed.payload, what=AGREEMENTS, max_bytes=4096), AGREEMENTS)
            transcript = said.hex_bytes("transcript", 32)
        return Memory(
            deal=None if dealt is None else Deal.take(Fields(dealt["deal"], DEALT)).digest,
            transcript=transcript,
            complained=self.get(COMPLAINT) is not None,
            acknowledged=self.get(ACKNOWLEDGEMENT) is not None,
            destroyed=self.get(RECEIPT) is not None,
        )

    def dealt(self) -> dict[str, Any] | None:
        """Return the deal that was made, and the sealed session seed that it came of."""
        raw = self.get(DEALT)
        if raw is None:
            return None
        value = parse_object(raw, what=DEALT, max_bytes=_MAX_BYTES)
        if set(value) != {"session", "deal", "bindings"}:
            raise CeremonyError(f"{DEALT} in the state folder is damaged", code="E_CEREMONY_STATE")
        return value

    def forget_session(self) -> None:
        """Drop the sealed session seed: after the certificate nobody can complain any more."""
        dealt = self.dealt()
        if dealt is not None and dealt["session"] is not None:
            write_over(self.path / DEALT, canonical({**dealt, "session": None}) + b"\n")

    def agreements(self) -> list[dict[str, Any]]:
        """Return the signed agreements, the member's before the dealer's."""
        raw = self.get(AGREEMENTS)
        if raw is None:
            return []
        fields = Fields(parse_object(raw, what=AGREEMENTS, max_bytes=_MAX_BYTES), AGREEMENTS)
        entries = fields.array("agreements", low=1, high=2)
        fields.done()
        return entries

    def get(self, name: str) -> bytes | None:
        """Return a file that was kept, or None."""
        path = self.path / name
        return read_file(path, what=name, max_bytes=_MAX_BYTES) if path.exists() else None

    def keep(self, name: str, data: bytes) -> None:
        """Keep a file, durably, before it leaves. What was kept before is never replaced.

        Raises:
            OutputError: it cannot be written, or another was kept.
        """
        if (known := self.get(name)) is not None:
            if known == data:
                return
            raise OutputError(f"{name!r} was kept before with other bytes; it is not replaced")
        write_new(self.path / name, data, mode=0o600)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time work on this ceremony with this state folder.

        Raises:
            CeremonyError: E_CEREMONY_STATE: another one does.
        """
        try:
            # A file that is there anyway: a step that is refused leaves nothing behind.
            descriptor = os.open(self.path / _JOINED, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise OutputError(f"state folder {str(self.path)!r}: {reason}") from None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CeremonyError(
                    "another command works on this ceremony with this state folder",
                    hint="let it end first",
                    code="E_CEREMONY_STATE",
                ) from None
            yield
        finally:
            os.close(descriptor)

    def _kex(self, me: Me) -> str | None:
        """Return the receiving key that this ceremony's share is sealed to."""
        if me.member is None:
            return None
        if isinstance(self.roster, RepairRoster):
            return self.roster.card.body.kex.hex()
        return self.roster.members[me.member - 1].body.kex.hex()

    def _follows(self) -> str | None:
        """Return what no second ceremony may be about, if there is such a thing.

        Of a reshare and a repair it is the group file whose shares they deal anew or repair, of a
        split the key: each of them would make a second group of the same key.
        """
        if isinstance(self.roster, RepairRoster):
            return self.roster.previous.hex()
        terms = self.roster.terms
        if isinstance(terms, SplitTerms):
            return bytes(terms.group_public_key).hex()
        return terms.previous.hex() if isinstance(terms, ReshareTerms) else None

    @property
    def _about(self) -> str:
        """What `_follows` names, in a word."""
        is_split = isinstance(self.roster, Roster) and isinstance(self.roster.terms, SplitTerms)
        return "key" if is_split else "shares"

    def _require_fresh(self, me: Me, now: int) -> None:
        kex, follows = self._kex(me), self._follows()
        for other in sorted(self.path.parent.glob(f"ceremony-*/{_JOINED}")):
            if other.parent == self.path:
                continue
            try:
                raw = read_file(other, what="joined", max_bytes=4096)
                before = parse_object(raw, what="joined", max_bytes=4096)
            except InputError:
                continue
            if before.get("nonce") == self.roster.nonce.hex():
                raise CeremonyError("the roster's nonce is that of an earlier one", code="E_ROSTER")
            if follows is not None and before.get("follows") == follows:
                _require_given_up(other.parent, before.get("expires"), now, self._about)
            if kex is not None and before.get("kex") == kex:
                raise CeremonyError(
                    "your card shows a receiving key that an earlier ceremony used",
                    hint="make a card with a fresh key: signer token card --fresh-key",
                    code="E_ROSTER",
                )


def _require_given_up(folder: Path, expires: object, now: int, what: str) -> None:
    """Refuse a second ceremony about the same shares or key while the first can still make a group.

    It can while its time is not over; and for ever once this holder has agreed to its deals, for
    the others may have agreed as well.
    """
    if any((folder / name).exists() for name in (AGREEMENTS, CERTIFICATE)):
        raise CeremonyError(
            f"you have agreed to the deals of another ceremony about the same {what}: it may have "
            "made a group, and two would be two",
            hint="go on with that one; only if everybody knows that it made none, move "
            f"{str(folder)!r} away",
            code="E_ROSTER",
        )
    if isinstance(expires, int) and now < expires:
        raise CeremonyError(
            f"you have joined another ceremony about the same {what}, and its time is not over: "
            "two would make two groups",
            hint=f"end that one; if it was given up, move {str(folder)!r} away",
            code="E_ROSTER",
        )


def file_name(kind: str, number: int, other: int | None = None, *, dealer: bool = False) -> str:
    """Return under which name a participant's file lies in the ceremony's folder."""
    role = "dealer-" if dealer else ""
    joined = {"complaint": "-against-", "opening": "-for-"}.get(kind, "-")
    rest = "" if other is None else f"{joined}{other:02}"
    return f"{kind}-{role}{number:02}{rest}.json"


def _optional(fields: Fields, name: str) -> int | None:
    value = fields.take(name)
    if value is None:
        return None
    return Fields({name: value}, fields.what).integer(name, low=0, high=MAX_HOLDERS)
