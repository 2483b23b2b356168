"""A request in words, for the person who has to say yes or no.

Up to `MAX_READ` items are shown one by one. Nobody reads thousands; such a batch is reviewed by
exception: one table of what distinct things it does, then everything that is out of line, then the
twelve words of the whole (`signer.messages.confirmation`).

Only printable ASCII comes out, whatever labels and reasons hold.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from signer.messages.address import ExecutionAddress
from signer.messages.amounts import gwei_text
from signer.messages.card import fingerprint
from signer.messages.confirmation import Challenge as Challenge
from signer.messages.confirmation import challenge as challenge
from signer.messages.confirmation import twelve_words
from signer.messages.credentials import bls_credentials, credentials_words
from signer.messages.items import (
    Change,
    Deposit,
    Exit,
    changes_of,
    deposits_of,
    exits_of,
    item_name,
)
from signer.messages.networks import network_words
from signer.messages.reply import Denial
from signer.messages.request import SignRequest

if TYPE_CHECKING:
    from signer.messages.group_file import GroupFile

MAX_READ = 16  # items that a person is shown one by one
NOT_IN_POLICY = "NOT IN THE POLICY"
_WIDTH = 72
_LAST_MOMENT = 253402300799  # the last second that a date can be written for
_PAD = " " * 14


class SignedBefore(Protocol):
    """Something that was about to be signed for a validator before; the journal's own has it."""

    @property
    def moment(self) -> int:
        """Unix seconds."""

    @property
    def item(self) -> Change | Exit:
        """What it was."""


Before = Callable[[int], Sequence[SignedBefore]]  # validator index, oldest first


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What the one who shows a request knows beside it. None: he does not know, and it is left out.

    `labels` and `credentials` are what the policy calls what it allows: what is not there is shown
    as not in the policy. `before` is the journal's history. `denied` is what would not be signed.
    `group` is the request's group, by a group file that the one who shows has compared.
    """

    group: "GroupFile | None" = None
    labels: Mapping[ExecutionAddress, str] | None = None
    credentials: Mapping[bytes, str] | None = None
    before: Before | None = None
    denied: Sequence[Denial] = field(default=())


def request_text(request: SignRequest, known: Knowledge | None = None) -> str:
    """Return the request as text: nothing of it left out that matters, nothing unescaped."""
    known = known or Knowledge()
    lines = [
        _title(request),
        "",
        f"  network     {request.network}: {network_words(request.network)}",
        *_group(request, known.group),
        f"  group key   0x{request.group_public_key.hex()}",
        f"  kind        {request.kind}",
        f"  expires     {_date(request.expires)}",
        f"  operator    {_operator(request)}",
        *_items(request, known),
        *_before(request, known),
        *_denied(request, known.denied),
        "",
        f"  request     {_marked(request.digest, known.group)}",
        *_column("words", _wrap(twelve_words(request.digest).split())),
        "",
        _warning(request),
    ]
    return "\n".join(_ascii(line) for line in lines)


def index_ranges(indices: Sequence[int]) -> list[str]:
    """Return ascending indices as ranges: 1, 2, 3, 7 becomes `1-3`, `7`."""
    ranges: list[str] = []
    start = previous = indices[0]
    for index in [*indices[1:], -1]:
        if index == previous + 1:
            previous = index
            continue
        ranges.append(str(start) if start == previous else f"{start}-{previous}")
        start = previous = index
    return ranges


def _title(request: SignRequest) -> str:
    count = len(request.items)
    first = request.items[0]
    if isinstance(first, Exit):
        return f"Exit validator {first.validator_index} from the beacon chain"
    if isinstance(first, Deposit):
        return f"Sign {count} deposit{'s' if count > 1 else ''} for the validator with this key"
    return f"Change the withdrawal credentials of {count} validator{'s' if count > 1 else ''}"


def _marked(digest: bytes, group: "GroupFile | None") -> str:
    return fingerprint(digest) if group is None else group.marked(digest)


def _group(request: SignRequest, group: "GroupFile | None") -> Iterator[str]:
    """Yield the group's fingerprint, marked if it is a rehearsal's, and its origin."""
    yield f"  group       {_marked(request.group_id, group)}   epoch {request.epoch}"
    if group is not None:
        yield f"  origin      {group.origin_words}"


def _items(request: SignRequest, known: Knowledge) -> Iterator[str]:
    first = request.items[0]
    if isinstance(first, Exit):
        yield ""
        yield f"  validator   {first.validator_index}"
        yield f"  from epoch  {first.epoch} of the beacon chain on"
    elif isinstance(first, Deposit):
        yield from _deposits(request, known.credentials)
    else:
        yield ""
        now = credentials_words(bls_credentials(request.group_public_key))
        yield f"  now         credentials {now}"
        if len(request.items) > MAX_READ:
            yield from _table(request, known.labels)
        else:
            for address, indices in request.targets().items():
                yield from _target(address, indices, known.labels)


def _deposits(request: SignRequest, labels: Mapping[bytes, str] | None) -> Iterator[str]:
    deposits = deposits_of(request.items)
    for credentials, amount in deposits:
        yield ""
        yield f"  amount      {gwei_text(amount)} ETH"
        yield f"  credentials {credentials_words(credentials)}"
        if labels is not None:
            yield _PAD + labels.get(credentials, NOT_IN_POLICY)
    if len(deposits) > 1:
        yield ""
        yield f"  together    {gwei_text(sum(amount for _, amount in deposits))} ETH"


def _target(
    address: ExecutionAddress, indices: Sequence[int], labels: Mapping[ExecutionAddress, str] | None
) -> Iterator[str]:
    yield ""
    yield f"  pay to      {address.grouped}"
    if label := _label(address, labels):
        yield _PAD + label
    yield f"  credentials 0x01{'00' * 11}{address.hex()}"
    yield from _column("validators", [f"{len(indices)}:", *_wrap(index_ranges(indices))])


def _table(request: SignRequest, labels: Mapping[ExecutionAddress, str] | None) -> Iterator[str]:
    """Yield one row for each distinct address, then the validators of all but the commonest."""
    targets = sorted(request.targets().items(), key=lambda target: -len(target[1]))
    yield ""
    yield "  VALIDATORS  PAY TO"
    for address, indices in targets:
        yield f"  {len(indices):>10}  {address.grouped}   {_label(address, labels)}".rstrip()
    exceptions = [
        (address, indices)
        for place, (address, indices) in enumerate(targets)
        if place or _label(address, labels) == NOT_IN_POLICY
    ]
    if not exceptions:
        yield ""
        yield "  All of them pay to this one address."
    for address, indices in exceptions:
        yield from _target(address, indices, labels)


def _label(address: ExecutionAddress, labels: Mapping[ExecutionAddress, str] | None) -> str:
    return "" if labels is None else labels.get(address, NOT_IN_POLICY)


def _before(request: SignRequest, known: Knowledge) -> Iterator[str]:
    """Yield what this holder signed before for the validators, equal entries together."""
    asked = [*changes_of(request.items), *exits_of(request.items)]
    if known.before is None or not asked:
        return
    signed: dict[tuple[int, str], list[int]] = {}
    for validator_index, _ in asked:
        for entry in known.before(validator_index):
            signed.setdefault((entry.moment, _what(entry.item)), []).append(validator_index)
    yield ""
    if not signed:
        yield "  before      nothing was signed for them at this holder"
        return
    yield "  before, at this holder:"
    for (moment, what), indices in sorted(signed.items()):
        yield f"    {_date(moment)}  {what}"
        yield from (_PAD + line for line in _wrap(["validator", *index_ranges(indices)]))


def _what(item: Change | Exit) -> str:
    if isinstance(item, Exit):
        return f"exit from epoch {item.epoch} on"
    return f"pay to {item.address.grouped}"


def _denied(request: SignRequest, denied: Sequence[Denial]) -> Iterator[str]:
    """Yield what will not be signed, and why, equal reasons together."""
    by_reason: dict[tuple[str, str], list[int]] = {}
    for denial in denied:
        by_reason.setdefault((denial.code, denial.reason), []).append(denial.position)
    for (code, reason), positions in by_reason.items():
        yield ""
        yield f"  NOT SIGNED  {len(positions)}: {code}, {reason}"
        yield from (_PAD + line for line in _wrap(_names(request, positions)))


def _names(request: SignRequest, positions: Sequence[int]) -> list[str]:
    """Return what people call these items; a batch's validators as ranges."""
    items = [request.items[place] for place in positions]
    changes = changes_of(items)
    if changes:
        return ["validator", *index_ranges(sorted(change.validator_index for change in changes))]
    return [item_name(place, item) for place, item in zip(positions, items, strict=True)]


def _warning(request: SignRequest) -> str:
    first = request.items[0]
    if isinstance(first, Exit):
        return "This cannot be undone: a validator that has exited does not come back."
    if isinstance(first, Deposit):
        return "The first deposit of a key sets its withdrawal credentials; ether sent stays there."
    return "This cannot be undone: a validator's credentials change once, for ever."


def _operator(request: SignRequest) -> str:
    if request.operator is None:
        return "no partial of the operator attached"
    return f"holder {int(request.operator.index)} attached his partials (not verified here)"


def _date(moment: int) -> str:
    return f"{datetime.fromtimestamp(min(moment, _LAST_MOMENT), UTC):%Y-%m-%d %H:%M:%S} UTC"


def _column(name: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"  {name:<11} {lines[0]}"
    yield from (_PAD + line for line in lines[1:])


def _wrap(words: Sequence[str]) -> list[str]:
    lines = [""]
    for word in words:
        candidate = f"{lines[-1]} {word}".strip()
        if len(candidate) > _WIDTH and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = candidate
    return lines


def _ascii(text: str) -> str:
    """Return `text` with everything but printable ASCII escaped."""
    return "".join(
        letter if " " <= letter <= "~" else letter.encode("unicode_escape").decode()
        for letter in text
    )
