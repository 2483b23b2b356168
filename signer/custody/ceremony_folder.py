"""The folder that travels between the people of a ceremony: a USB stick, a shared directory.

Everything in it is public. Whoever can write there can delay a ceremony, not change it. Files are
added, never overwritten; if a name is taken by something else, ours gets another name, which the
reader finds as well.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from signer.ceremony.agreement import MEMBER, agreeing
from signer.ceremony.beside import problem_beside
from signer.ceremony.board import Board, read_board
from signer.ceremony.bundle import MAX_BYTES as MAX_BUNDLE_BYTES
from signer.ceremony.certificate import MAX_BYTES as MAX_CERTIFICATE_BYTES
from signer.ceremony.certificate import Certificate
from signer.ceremony.repair_roster import TYPE as REPAIR_TYPE
from signer.ceremony.repair_roster import RepairRoster, RepairSetting
from signer.ceremony.roster import MAX_BYTES as MAX_ROSTER_BYTES
from signer.ceremony.roster import ReshareTerms, Roster
from signer.ceremony.setting import Setting
from signer.errors import CeremonyError, InputError, OutputError, SignerError
from signer.files import read_file, write_new
from signer.messages.bindings import MAX_BYTES as MAX_BINDINGS_BYTES
from signer.messages.drill_certificate import MAX_BYTES as MAX_DRILL_BYTES
from signer.messages.group_file import MAX_BYTES as MAX_GROUP_BYTES
from signer.messages.group_file import GroupFile
from signer.strict import canonical, parse_object

ROSTER, PREVIOUS, POLICY = "roster.json", "previous.json", "policy.json"
CERTIFICATE, PENDING, GROUP = "certificate.json", "group-pending.json", "group.json"
REPAIRED = "group-repaired.json"
_PARTICIPANTS = re.compile(
    r"(deal|bundle|bindings|agree|ack|complaint|opening|destroyed|delta|sigma|replacement)"
    r"-[a-z0-9-]+\.json"
)
_DRILLS = re.compile(r"drill[A-Za-z0-9-]*\.json")
_MAX_FILES = 2000
_MAX_FILE_BYTES = 256 * 1024
_MAX_TOTAL_BYTES = 256 * 1024 * 1024
_MAX_BYTES_OF = {"bindings": MAX_BINDINGS_BYTES, "bundle": MAX_BUNDLE_BYTES}


@dataclass(frozen=True, slots=True)
class CeremonyFolder:
    """One ceremony's folder."""

    path: Path

    def setting(self) -> Setting:
        """Return the ceremony that the folder is of.

        Raises:
            SignerError: there is no roster, or it does not hold.
        """
        raw = read_file(self.path / ROSTER, what="roster", max_bytes=MAX_ROSTER_BYTES)
        roster = Roster.parse(raw, "roster.json")
        if not isinstance(roster.terms, ReshareTerms):
            return Setting.of(roster, None)
        return Setting.of(roster, self._previous(roster.terms.previous))

    def repair(self) -> RepairSetting | None:
        """Return the repair that the folder is of; None: it is of another ceremony.

        Raises:
            SignerError: there is no roster, or it does not hold.
        """
        raw = read_file(self.path / ROSTER, what="roster", max_bytes=MAX_ROSTER_BYTES)
        found = parse_object(raw, what=ROSTER, max_bytes=MAX_ROSTER_BYTES)
        if found.get("type") != REPAIR_TYPE:
            return None
        roster = RepairRoster.parse(raw, ROSTER)
        return RepairSetting.of(roster, self._previous(roster.previous))

    def _previous(self, digest: bytes) -> GroupFile | None:
        """Return the group file that the roster names by its digest; another if only that is there.

        Raises:
            SignerError: what is there is no group file.
        """
        wrong: GroupFile | None = None
        problem: SignerError | None = None
        for name, raw in self.copies(PREVIOUS, MAX_GROUP_BYTES):
            try:
                found = GroupFile.parse(raw, name)
            except SignerError as error:
                problem = problem or error
                continue
            if found.digest == digest:
                return found
            wrong = wrong or found
        if wrong is None and problem is not None:
            raise problem
        return wrong

    def files(self) -> dict[str, bytes]:
        """Return the participants' files by name; what cannot be one is passed over.

        Raises:
            InputError: the folder cannot be read, or holds too much.
        """
        try:
            names = sorted(
                entry.name for entry in self.path.iterdir() if _PARTICIPANTS.fullmatch(entry.name)
            )
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise InputError(f"folder {str(self.path)!r}: {reason}") from None
        if len(names) > _MAX_FILES:
            raise InputError(
                f"folder {str(self.path)!r}: {len(names)} files, at most {_MAX_FILES} are read",
                hint="take what is not of the ceremony out of it",
            )
        found: dict[str, bytes] = {}
        total = 0
        for name in names:
            most = _MAX_BYTES_OF.get(name.partition("-")[0], _MAX_FILE_BYTES)
            try:
                found[name] = read_file(self.path / name, what="file", max_bytes=most)
            except InputError:
                found[name] = b""  # listed as a problem, like anything that does not parse
            total += len(found[name])
            if total > _MAX_TOTAL_BYTES:
                raise InputError(
                    f"folder {str(self.path)!r}: more than {_MAX_TOTAL_BYTES} bytes in all",
                    hint="take what is not of the ceremony out of it",
                )
        return found

    def certified(self, setting: Setting) -> Board | None:
        """Return what the certificate in the folder shows; None: there is none that holds."""
        files = self.files()
        for parts in self._certificates(setting):
            if (board := certified_board(setting, parts, files)) is not None:
                return board
        return None

    def uncertified(self, setting: Setting) -> dict[str, bytes]:
        """Return the participants' files and the parts of certificates, as far as they hold.

        Raises:
            InputError: the folder cannot be read, or holds too much.
        """
        files = self.files()
        for number, parts in enumerate(self._certificates(setting)):
            files |= numbered(parts, number)
        return files

    def board(self, setting: Setting, now: int) -> Board:
        """Return what the folder shows of the ceremony."""
        if (certified := self.certified(setting)) is not None:
            return certified
        return read_board(setting, self.uncertified(setting), late=now >= setting.roster.expires)

    def _certificates(self, setting: Setting) -> Iterator[dict[str, bytes]]:
        """Yield the parts of every certificate in the folder, as the files it was made of.

        Which of them holds `certified_board` tells.
        """
        seen: set[bytes] = set()
        total = 0
        for name, raw in self.copies(CERTIFICATE, MAX_CERTIFICATE_BYTES):
            if (digest := hashlib.sha256(raw).digest()) in seen:
                continue
            seen.add(digest)
            total += len(raw)
            if total > _MAX_TOTAL_BYTES:
                raise InputError(
                    f"folder {str(self.path)!r}: its certificates have more than "
                    f"{_MAX_TOTAL_BYTES} bytes in all",
                    hint="take what is not of the ceremony out of it",
                )
            with contextlib.suppress(SignerError):
                yield files_of(raw, setting, name)

    def copies(self, name: str, most: int) -> Iterator[tuple[str, bytes]]:
        """Yield what lies under a name and under the second ones that `add` gives, by name.

        Whoever reads takes the one that holds: the name itself may be taken by anything. They come
        one at a time, so that a folder full of large ones fills no memory.
        """
        pattern = re.compile(re.escape(name.removesuffix(".json")) + r"(-[0-9a-f]{8})?\.json")
        names = [entry.name for entry in self.path.iterdir() if pattern.fullmatch(entry.name)]
        for there in sorted(names, key=lambda one: (one != name, one))[:_MAX_FILES]:
            try:
                raw = read_file(self.path / there, what=there, max_bytes=most)
            except InputError:
                raw = b""  # nothing that could hold
            yield there, raw

    def read(self, name: str, most: int) -> bytes | None:
        """Return one of the ceremony's own files, or None if it is not there."""
        path = self.path / name
        return read_file(path, what=name, max_bytes=most) if path.exists() else None

    def drills(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name and bytes of what `signer drill run --activate` may have left here."""
        names = sorted(entry.name for entry in self.path.iterdir() if _DRILLS.fullmatch(entry.name))
        for name in names[:_MAX_FILES]:
            try:
                raw = read_file(self.path / name, what="drill", max_bytes=MAX_DRILL_BYTES)
            except InputError:
                raw = b""  # a folder, or too large: no drill
            yield name, raw

    def add(self, name: str, data: bytes) -> str | None:
        """Put a file there, under another name if that one is taken; return the name if it was new.

        Raises:
            OutputError: it cannot be written.
        """
        stem = name.removesuffix(".json")
        for candidate in (name, f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}.json"):
            path = self.path / candidate
            if not os.path.lexists(path):  # a link that leads nowhere takes the name too
                try:
                    write_new(path, data)
                except OutputError:
                    if not os.path.lexists(path):
                        raise
                else:
                    return candidate  # else somebody else was quicker
            if _holds(path, data):
                return None
        raise OutputError(f"{name!r} and its second name are both taken in {str(self.path)!r}")


def files_of(certificate: bytes, setting: Setting, name: str = CERTIFICATE) -> dict[str, bytes]:
    """Return the parts of a certificate as the files it was made of. They are checked like those.

    Raises:
        SignerError: it is no certificate, or of another ceremony.
    """
    made = Certificate.parse(certificate, name)
    if made.roster.id != setting.roster.id:
        raise CeremonyError(f"{name} is of another ceremony", code="E_CEREMONY")
    found, dealers = {}, made.roster.dealers
    for dealer, deal in zip(dealers, made.deals, strict=False):
        found[f"deal-{dealer:02}-cert.json"] = deal.to_bytes()
    for dealer, signed in zip(dealers, made.bindings, strict=False):
        found[f"bindings-{dealer:02}-cert.json"] = canonical(signed.to_json())
    for (role, index), signed in zip(agreeing(setting), made.agreements, strict=False):
        middle = "" if role == MEMBER else "dealer-"
        found[f"agree-{middle}{index:02}-cert.json"] = canonical(signed.to_json())
    return found


def certified_board(
    setting: Setting, parts: Mapping[str, bytes], files: Mapping[str, bytes]
) -> Board | None:
    """Return what a certificate and the acknowledgements show; None if it does not hold.

    A certificate that holds stands for all that came before the acknowledgements: nothing that
    somebody signs later undoes what everybody has agreed to. Such files are listed as problems.

    Args:
        setting: the ceremony.
        parts: what `files_of` gives of the certificate.
        files: the folder's.
    """
    if not parts:
        return None
    acknowledged = {name: data for name, data in files.items() if name.startswith("ack-")}
    board = read_board(setting, {**parts, **acknowledged})
    if not board.certified:
        return None
    held = {_parsed(data) for data in parts.values()}
    for name, data in sorted(files.items()):
        if name.startswith(("deal-", "agree-", "bindings-")) and _parsed(data) not in held:
            problem = problem_beside(board, name, data)
            board.problems += [] if problem is None else [problem]
    return board


def numbered(parts: Mapping[str, bytes], number: int) -> dict[str, bytes]:
    """Return the parts of one of several certificates under names of their own."""
    return {name.replace("-cert.json", f"-cert{number}.json"): raw for name, raw in parts.items()}


def _parsed(data: bytes) -> bytes:
    """Return a file without regard to how its JSON is spaced."""
    try:
        return canonical(parse_object(data, what="file", max_bytes=MAX_BINDINGS_BYTES))
    except SignerError:
        return data


def _holds(path: Path, data: bytes) -> bool:
    try:
        return read_file(path, what="file", max_bytes=len(data)) == data
    except InputError:
        return False
