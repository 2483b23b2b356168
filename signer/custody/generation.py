"""Which shares a journal has gone on with, and what it may lack of what was signed before. Pure.

Two things can be lacking, and each has its own cure. After a reshare: what the others were bound
to, for the new holders' quorums may meet the old ones' in nobody; the ceremony's union holds it.
After a loss: what this very share has signed in this epoch; only a backup or the other holders'
statements hold that, and a ceremony that was before it does not.
"""

from dataclasses import dataclass

from signer.errors import JournalError


@dataclass(slots=True)
class Generation:
    """The epoch that a journal is in, and what it lacks."""

    epoch: int = 0  # of the newest shares that it was opened for
    certificate: bytes | None = None  # digest of the ceremony that made them; None: a plain split
    policy: tuple[int, bytes] | None = None  # of that epoch: amendment number, digest
    lacks_union: bool = False  # what was bound in the epochs before
    lacks_own: bool = False  # what this share, which was lost and made again, has signed
    filled_by_others: bool = False  # by the last import: with what the others say today

    @property
    def needs_history(self) -> bool:
        """Whether it may lack what this share, or one before it, has signed."""
        return self.lacks_union or self.lacks_own

    def begin(self, epoch: int, certificate: bytes | None, *, recovered: bool) -> None:
        """Go on with newer shares: bindings stay, amendments of the policy are counted anew."""
        self.epoch, self.certificate, self.policy = epoch, certificate, None
        self.lacks_union, self.lacks_own = epoch > 1, recovered

    def filled(self, certificate: bytes | None) -> None:
        """Note that bindings were taken over: of a ceremony, or (None) of the other holders.

        Raises:
            JournalError: of another ceremony than the one that made these shares.
        """
        self.filled_by_others = certificate is None
        if certificate is None:
            self.lacks_union = self.lacks_own = False
            return
        self.require_fillable(certificate)
        self.lacks_union = False

    def require_fillable(self, certificate: bytes | None) -> None:
        """Refuse what another ceremony knew than the one that made these shares.

        Raises:
            JournalError: it is of another one.
        """
        if certificate not in (None, self.certificate):
            raise JournalError(
                f"the bindings are of ceremony {_short(certificate)}, the shares are of "
                f"{_short(self.certificate)}",
                hint="take the folder of the ceremony that made the group file",
            )

    def require_usable(self, epoch: int, certificate: bytes | None) -> None:
        """Refuse shares of an earlier epoch, or of a rival ceremony of the same one.

        Raises:
            JournalError: E_EPOCH.
        """
        if epoch < self.epoch:
            raise JournalError(
                f"these shares are of epoch {epoch}; this journal has gone on with epoch "
                f"{self.epoch}",
                hint=f"sign only with the newest shares: take the group file and envelope of epoch "
                f"{self.epoch}",
                code="E_EPOCH",
            )
        if epoch == self.epoch and certificate != self.certificate:
            raise JournalError(
                f"this journal has gone on with other shares of epoch {epoch}, of certificate "
                f"{_short(self.certificate)}; these are of {_short(certificate)}",
                hint="two groups of one epoch must not both sign: stop, and tell the pool",
                code="E_EPOCH",
            )

    def require_followable(self, number: int, digest: bytes) -> None:
        """Refuse an amendment of this epoch's policy before, or beside, the one that is followed.

        Raises:
            JournalError: E_POLICY_OLD.
        """
        known = self.policy
        if known is not None and number <= known[0] and (number, digest) != known:
            raise JournalError(
                f"policy amendment {number} is not the one this share followed last, {known[0]}",
                hint="take the newest group file and policy; ask the pool which amendment counts",
                code="E_POLICY_OLD",
            )

    def require_history(self) -> None:
        """Refuse to sign with a share that may have signed what this journal does not know.

        Raises:
            JournalError: E_JOURNAL_EMPTY.
        """
        if self.lacks_own:
            raise JournalError(
                "this share was recovered, and its journal lacks what it signed before",
                hint="restore the journal it had (`signer journal import BACKUP`), or take over "
                "other holders' bindings (`signer journal import --bindings FILE…`)",
                code="E_JOURNAL_EMPTY",
            )
        if self.lacks_union:
            raise JournalError(
                "this share is of a later epoch, and its journal lacks what was signed before it",
                hint="after a reshare: `signer journal import --ceremony FOLDER`; but if this "
                "share had a journal in this epoch, restore it (`signer journal import BACKUP`) or "
                "take over other holders' bindings (`signer journal import --bindings FILE…`)",
                code="E_JOURNAL_EMPTY",
            )


def _short(certificate: bytes | None) -> str:
    return "none" if certificate is None else certificate.hex()[:16]
