"""What came of a signing: the file, the account of every item, and how it ends.

Ends, by exit status: 0 every item is signed; 6 some are; else nothing is, and the reason is what
would have had to be different: 3 without the denials it would have worked, 5 without the liars, 4
more holders must answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from signer.aggregator.gather import Failure
from signer.aggregator.tally import Culprit, Tally
from signer.errors import BadPartialsError, DeniedError, SignerError, TooFewPartialsError
from signer.messages.changes_file import signed_changes_file
from signer.messages.signing_root import BLSToExecutionChange

PARTLY = 6  # exit status: written, but some items were denied or skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """An item without a group signature, and who said what about it."""

    validator_index: int
    partials: int
    denials: tuple[tuple[int, str], ...]  # (share index, code)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; `result` is denied where a holder denied, else skipped."""
        return {
            "validator_index": self.validator_index,
            "result": "denied" if self.denials else "skipped",
            "partials": self.partials,
            "denials": [{"index": index, "code": code} for index, code in self.denials],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The account of one signing."""

    signed: int
    unsigned: tuple[Unsigned, ...]
    signers: tuple[int, ...]
    culprits: tuple[Culprit, ...]
    failures: tuple[Failure, ...]
    need: int

    @property
    def exit_status(self) -> int:
        """0 when everything is signed, 6 when something is. Meaningless when nothing is."""
        return PARTLY if self.unsigned else 0

    def to_json(self) -> dict[str, Any]:
        """Return the summary that `--json` prints."""
        return {
            "signed": self.signed,
            "unsigned": [item.to_json() for item in self.unsigned],
            "signers": list(self.signers),
            "culprits": [
                {"index": culprit.index, "agent": culprit.source, "code": culprit.code}
                for culprit in self.culprits
            ],
            "failed": [
                {
                    "index": failure.index,
                    "agent": failure.source,
                    "code": failure.code,
                    "result": "denied" if failure.denied else "failed",
                }
                for failure in self.failures
            ],
        }

    def error(self) -> SignerError:
        """Return why nothing could be signed."""
        have = max((item.partials for item in self.unsigned), default=0)
        denials = self._denials()
        if denials and have + len(denials) >= self.need:
            code, count = _most_common([code for _, code in denials])
            return DeniedError(
                f"denied by {len(denials)} holders ({count} × {code}); "
                f"{have} of {self.need} partial signatures",
                code=code,
                hint="ask the holders, or see what `signer request show` says",
            )
        if have + len(self.culprits) >= self.need and self.culprits:
            names = ", ".join(str(culprit.index) for culprit in self.culprits)
            return BadPartialsError(
                f"{have} of {self.need} partial signatures; bad ones were answered for {names}",
                have=have,
                need=self.need,
                culprits=tuple((culprit.index, culprit.code) for culprit in self.culprits),
                hint="look at the named agents; if you trust them all, the group file is suspect: "
                "compare its fingerprint",
            )
        return TooFewPartialsError(
            f"{have} of {self.need} partial signatures",
            have=have,
            need=self.need,
            culprits=tuple((culprit.index, culprit.code) for culprit in self.culprits),
            hint="more holders must answer; with --work DIR what is there is kept",
        )

    def _denials(self) -> list[tuple[int | None, str]]:
        """Return one (index, code) for each holder who denied the request or every open item."""
        by_item = {(index, code) for item in self.unsigned for index, code in item.denials}
        seen: dict[int | None, str] = dict(by_item)
        whole = [(f.index, f.code) for f in self.failures if f.denied]
        return [*seen.items(), *whole]


def outcome_of(tally: Tally, failures: Sequence[Failure]) -> Outcome:
    """Draw up the account of a tally."""
    denials = tally.denials()
    unsigned = tuple(
        Unsigned(
            validator_index=validator_index,
            partials=len(tally.partials_of(position)),
            denials=tuple(
                (int(index), denial.code)
                for index, denial in sorted(denials.get(validator_index, {}).items())
            ),
        )
        for position in tally.unsigned()
        for validator_index in [tally.request.items[position][0]]
    )
    return Outcome(
        signed=len(tally.signatures) - len(unsigned),
        unsigned=unsigned,
        signers=tuple(sorted(int(index) for index in tally.signers)),
        culprits=tuple(tally.culprits),
        failures=tuple(failures),
        need=tally.need,
    )


def result_file(tally: Tally, *, metadata: bool) -> bytes:
    """Return the file of all changes that have a group signature, in validator order."""
    key = tally.group.public_key
    signed = [
        (BLSToExecutionChange(validator_index, key, address), signature)
        for (validator_index, address), signature in zip(
            tally.request.items, tally.signatures, strict=True
        )
        if signature is not None
    ]
    return signed_changes_file(tally.group.network, signed, metadata=metadata)


def _most_common(codes: Sequence[str]) -> tuple[str, int]:
    best = max(sorted(set(codes)), key=codes.count)
    return best, codes.count(best)
