"""What came of a signing: the file, the account of every item, and how it ends.

Ends, by exit status: 0 every item is signed; 6 some are; else nothing is, and the reason is what
would have had to be different: 3 without the denials it would have worked, 5 without the liars, 4
more holders must answer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from signer.aggregator.gather import Failure
from signer.aggregator.tally import Culprit, Tally
from signer.bls.encoding import Signature
from signer.errors import BadPartialsError, DeniedError, SignerError, TooFewPartialsError
from signer.messages.items import Deposit, Exit, Item, item_name
from signer.messages.request import SignRequest
from signer.messages.result_files import deposit_data_file, signed_changes_file, signed_exit_file
from signer.messages.signing_root import BLSToExecutionChange, DepositMessage, VoluntaryExit

PARTLY = 6  # exit status: written, but some items were denied or skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsigned:
    """An item without a group signature, and who said what about it."""

    position: int  # in the request, from 0
    item: Item
    partials: int
    denials: tuple[tuple[int, str], ...]  # (share index, code)

    @property
    def name(self) -> str:
        """What people call the item."""
        return item_name(self.position, self.item)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; `result` is denied where a holder denied, else skipped."""
        return {
            "item": self.position,
            "validator_index": None
            if isinstance(self.item, Deposit)
            else self.item.validator_index,
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
    holders: int
    rolled_back: tuple[tuple[int, str], ...] = ()  # (share index, source) that answered from an
    # older journal than one the request knows of

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
            # Signed by the holder's own key, and wrong: what the pool can hold against him.
            "evidence": [
                {
                    "index": culprit.index,
                    "code": culprit.code,
                    "reply": json.loads(culprit.evidence.to_bytes()),
                }
                for culprit in self.culprits
                if culprit.evidence is not None
            ],
            "rolled_back": [
                {"index": index, "agent": source} for index, source in self.rolled_back
            ],
            "failed": [
                {
                    "index": failure.index,
                    "agent": failure.source,
                    "code": failure.code,
                    "result": failure.result,
                }
                for failure in self.failures
            ],
        }

    def error(self) -> SignerError:
        """Return why nothing could be signed."""
        have = max((item.partials for item in self.unsigned), default=0)
        denials = self._denials()
        too_many = len(denials) > self.holders - self.need  # who is left cannot sign without them
        if denials and (too_many or have + len(denials) >= self.need):
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
            hint="holders have still to say yes: run the same command again"
            if any(failure.result == "waiting" for failure in self.failures)
            else "more holders must answer; with --work DIR what is there is kept",
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
            position=position,
            item=tally.request.items[position],
            partials=len(tally.partials_of(position)),
            denials=tuple(
                (int(index), denial.code)
                for index, denial in sorted(denials.get(position, {}).items())
            ),
        )
        for position in tally.unsigned()
    )
    return Outcome(
        signed=len(tally.signatures) - len(unsigned),
        unsigned=unsigned,
        signers=tuple(sorted(int(index) for index in tally.signers)),
        culprits=tuple(tally.culprits),
        failures=tuple(failures),
        need=tally.need,
        holders=tally.group.threshold.n,
        rolled_back=tuple(tally.rolled_back),
    )


def result_file(tally: Tally, *, metadata: bool) -> bytes:
    """Return the file of all items that have a group signature, in the request's order."""
    key, network = tally.group.public_key, tally.group.network
    exits: list[tuple[VoluntaryExit, Signature]] = []
    deposits: list[tuple[DepositMessage, Signature]] = []
    changes: list[tuple[BLSToExecutionChange, Signature]] = []
    for item, signature in zip(tally.request.items, tally.signatures, strict=True):
        if signature is None:
            continue
        if isinstance(item, Exit):
            exits.append((VoluntaryExit(item.epoch, item.validator_index), signature))
        elif isinstance(item, Deposit):
            deposits.append((DepositMessage(key, *item), signature))
        else:
            message = BLSToExecutionChange(item.validator_index, key, item.address)
            changes.append((message, signature))
    if exits:  # a request has one at most
        return signed_exit_file(*exits[0])
    if deposits:
        return deposit_data_file(network, deposits)
    return signed_changes_file(network, changes, metadata=metadata)


def result_stem(request: SignRequest) -> str:
    """Return the beginning of the file name that real tools give such a result."""
    first = request.items[0]
    if isinstance(first, Exit):
        return f"signed_exit_transaction-{first.validator_index}"
    return "deposit_data" if isinstance(first, Deposit) else "bls_to_execution_change"


def _most_common(codes: Sequence[str]) -> tuple[str, int]:
    best = max(sorted(set(codes)), key=codes.count)
    return best, codes.count(best)
