"""What the journals of a reshare's dealers bind, taken together. A conflict ends the ceremony.

Each dealer's deal names the digest of his signed statement. The union's digest goes into the
transcript, so everybody has agreed to what was bound when the new shares were made.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from signer.ceremony.checking import CheckedDeal
from signer.ceremony.setting import Setting
from signer.errors import CeremonyError
from signer.messages.address import ExecutionAddress
from signer.messages.bindings import Bindings
from signer.messages.dsse import SignedFile
from signer.messages.items import Change, changes_to_json
from signer.strict import canonical

STATEMENTS_BYTES = 24 * 1024 * 1024  # of all dealers' statements; a certificate holds them


def open_bindings(signed: SignedFile, setting: Setting, dealer: int) -> Bindings:
    """Return what a reshare's dealer says that his journal binds.

    Raises:
        CeremonyError: E_BINDINGS: not his, or as `read_bindings`.
        SchemaError: not this format.
    """
    require_stated_by(signed, setting, dealer)
    return read_bindings(signed, setting, dealer)


def require_stated_by(signed: SignedFile, setting: Setting, dealer: int) -> None:
    """Refuse what the dealer did not sign. Whatever it says proves nothing against him.

    Raises:
        CeremonyError: E_BINDINGS.
    """
    if not signed.signed_by(setting.old.card_of(dealer).body.id_sign):
        raise CeremonyError(f"{_named(setting, dealer)}: they are not his", code="E_BINDINGS")


def read_bindings(signed: SignedFile, setting: Setting, dealer: int) -> Bindings:
    """Return what a statement says, if it is one that a dealer may give; who signed is not asked.

    Raises:
        CeremonyError: E_BINDINGS: of another share, of a journal that has not come to the old
            shares' epoch, made before this ceremony, too large, or not in its one form.
        SchemaError: not this format.
    """
    what = _named(setting, dealer)
    most = STATEMENTS_BYTES // len(setting.roster.dealers)
    if len(signed.payload) > most:
        raise CeremonyError(
            f"{what}: {len(signed.payload)} bytes; a certificate has room for {most} of each",
            code="E_BINDINGS",
        )
    said = Bindings.parse(signed.payload, what)
    if said.to_payload() != signed.payload:
        raise CeremonyError(f"{what}: they are not in canonical form", code="E_BINDINGS")
    if (said.group, said.index) != (setting.old.group_id, dealer):
        raise CeremonyError(
            f"{what}: they are of another share, or of another group", code="E_BINDINGS"
        )
    if said.epoch != setting.old.epoch or (said.is_of_no_journal and said.epoch > 1):
        raise CeremonyError(
            f"{what}: they lack what was taken over into epoch {setting.old.epoch}",
            hint="he takes it over first: signer journal import --ceremony",
            code="E_BINDINGS",
        )
    if said.moment < setting.roster.not_before:
        raise CeremonyError(
            f"{what}: they were stated before this ceremony began", code="E_BINDINGS"
        )
    return said


class Union(NamedTuple):
    """All that the dealers' journals bind."""

    changes: tuple[Change, ...]  # by validator
    deposit_credentials: bytes | None

    @property
    def digest(self) -> bytes:
        """32 bytes, which go into the transcript."""
        credentials = self.deposit_credentials
        value = {
            "type": "signer-bindings-union",
            "version": 1,
            "changes": changes_to_json(self.changes),
            "deposit_credentials": None if credentials is None else credentials.hex(),
        }
        return hashlib.sha256(canonical(value)).digest()


def union_digest(
    setting: Setting, deals: Sequence[CheckedDeal], statements: Sequence[SignedFile]
) -> bytes | None:
    """Return the digest over all that is bound; None where the ceremony is no reshare.

    Raises:
        CeremonyError: as `union_of`.
    """
    if setting.previous is None:
        if statements:
            raise CeremonyError("only a reshare takes over bindings", code="E_BINDINGS")
        return None
    return union_of(setting, deals, statements).digest


def union_of(
    setting: Setting, deals: Sequence[CheckedDeal], statements: Sequence[SignedFile]
) -> Union:
    """Return all that is bound when a reshare is held.

    Args:
        setting: the ceremony.
        deals: in the order of the dealers.
        statements: one of each dealer, in that order.

    Raises:
        CeremonyError: E_BINDINGS: one is missing or not what the deal names. E_CONFLICT: two
            journals bind one validator, or the deposits, differently.
    """
    if len(statements) != len(deals):
        raise CeremonyError("the bindings of each dealer are needed", code="E_BINDINGS")
    bound: dict[int, tuple[ExecutionAddress, int]] = {}
    credentials: tuple[bytes, int] | None = None
    for deal, signed in zip(deals, statements, strict=True):
        if deal.bindings != hashlib.sha256(signed.payload).digest():
            raise CeremonyError(
                f"these are not the bindings that the deal of {setting.name_of(deal.dealer)} names",
                code="E_BINDINGS",
            )
        said = open_bindings(signed, setting, deal.dealer)
        for change in said.changes:
            first = bound.setdefault(change.validator_index, (change.address, deal.dealer))
            if first[0] != change.address:
                what = f"validator {change.validator_index}"
                raise _conflict(setting, what, first[1], deal.dealer)
        if said.deposit_credentials is not None:
            credentials = credentials or (said.deposit_credentials, deal.dealer)
            if credentials[0] != said.deposit_credentials:
                raise _conflict(setting, "the deposits", credentials[1], deal.dealer)
    changes = tuple(Change(index, address) for index, (address, _) in sorted(bound.items()))
    return Union(changes, None if credentials is None else credentials[0])


def _conflict(setting: Setting, what: str, first: int, second: int) -> CeremonyError:
    return CeremonyError(
        f"{setting.name_of(first)} and {setting.name_of(second)} state {what} bound differently: "
        "it was signed for twice, or one of the two lies",
        hint="do not deal anew before the pool knows how that came about",
        code="E_CONFLICT",
    )


def _named(setting: Setting, dealer: int) -> str:
    return f"the bindings of {setting.name_of(dealer)}"
