"""What a holder's machine remembers of the cards it has put in another's place, over all repairs.

Replacement 1, 2, … of a group follow each other. Whoever signs two different ones with one number
helps to make two group files that cannot be joined: one pool that runs with two sets of cards. So
the second is refused, unless a person says that the first has come to nothing.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from signer.errors import CeremonyError, OutputError
from signer.files import make_folder, read_file, write_new, write_over
from signer.messages.replacement import ReplacementBody
from signer.strict import Fields, canonical, parse_object

_MAX_BYTES = 4096
_TYPE = "signer-replacement-signed"


@dataclass(frozen=True, slots=True)
class ReplacementRecord:
    """The record of one number of one group and epoch, in the folder of all a holder's states."""

    path: Path
    statement: ReplacementBody

    @classmethod
    def of(cls, state: Path, statement: ReplacementBody) -> "ReplacementRecord":
        """Return where `state` keeps what was signed with the number of this statement."""
        group, epoch, number = statement.group.hex()[:16], statement.epoch, statement.number
        return cls(state / f"replacement-{group}-{epoch}-{number}.json", statement)

    def other(self) -> str | None:
        """Return the id, in hex, of another repair whose card was signed with this number.

        Raises:
            InputError: the record cannot be read, or is none.
        """
        if not self.path.exists():
            return None
        raw = read_file(self.path, what="record of a replacement", max_bytes=_MAX_BYTES)
        what = f"record {str(self.path)!r}"
        fields = Fields(parse_object(raw, what=what, max_bytes=_MAX_BYTES), what)
        fields.constant("type", _TYPE)
        fields.constant("version", 1)
        ceremony, digest = fields.hex_bytes("ceremony", 32), fields.hex_bytes("statement", 32)
        fields.done()
        return None if digest == self._digest else ceremony.hex()

    def keep(self, *, first_failed: bool) -> None:
        """Remember this statement, before its signature leaves the machine.

        Args:
            first_failed: whether a person has said that the one before came to nothing.

        Raises:
            CeremonyError: E_REPLACEMENT: another was signed meanwhile.
            OutputError: it cannot be written.
        """
        if self.path.exists() and self.other() is None:
            return
        value = {
            "type": _TYPE,
            "version": 1,
            "ceremony": self.statement.ceremony.hex(),
            "statement": self._digest.hex(),
        }
        data = canonical(value) + b"\n"
        make_folder(self.path.parent, mode=0o700)
        if first_failed:
            write_over(self.path, data)
            return
        try:
            write_new(self.path, data, mode=0o600)
        except OutputError:
            if not self.path.exists():
                raise
            raise another_refusal(self.statement.number) from None  # a second process was quicker

    @property
    def _digest(self) -> bytes:
        return hashlib.sha256(self.statement.to_payload()).digest()


def another_refusal(number: int) -> CeremonyError:
    """Return why a second card is not signed with the number of a first."""
    return CeremonyError(
        f"you have signed the card of another repair as replacement {number} of this group; two "
        "with one number make two group files that cannot be joined",
        hint="if that repair has come about, repair again from its group-repaired.json; "
        "if it never can, say so: --yes-first-failed",
        code="E_REPLACEMENT",
    )
