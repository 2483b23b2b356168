"""A request in words, for the person who has to say yes or no."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from signer.messages.address import ExecutionAddress
from signer.messages.card import fingerprint
from signer.messages.request import SignRequest

_WIDTH = 72


def request_text(request: SignRequest, labels: Mapping[ExecutionAddress, str] | None) -> str:
    """Return the request as text, nothing of it unescaped, nothing left out.

    Args:
        request: parsed, so every field has a safe form.
        labels: what the policy calls each allowed address; one that is not there is shown so.
            None: no policy was given, and nothing is said of what it allows.
    """
    count = len(request.items)
    expires = datetime.fromtimestamp(min(request.expires, 253402300799), UTC)
    lines = [
        f"Change the withdrawal credentials of {count} validator{'s' if count > 1 else ''}",
        "",
        f"  network     {request.network}",
        f"  group       {fingerprint(request.group_id)}   epoch {request.epoch}",
        f"  from key    0x{request.from_bls_pubkey.hex()}",
        f"  expires     {expires:%Y-%m-%d %H:%M:%S} UTC",
        f"  operator    {_operator(request)}",
    ]
    for address, indices in request.targets().items():
        label = "" if labels is None else labels.get(address, "NOT IN THE POLICY")
        lines += [
            "",
            f"  pay to      {address.grouped}",
            *([f"              {label}"] if label else []),
            f"  validators  {len(indices)}:",
            *("              " + line for line in _wrap(index_ranges(indices))),
        ]
    lines += [
        "",
        f"  request     {fingerprint(request.digest)}",
        "",
        "This cannot be undone: a validator's credentials change once, for ever.",
    ]
    return "\n".join(lines)


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


def _operator(request: SignRequest) -> str:
    if request.operator is None:
        return "no partial of the operator attached"
    return f"holder {int(request.operator.index)} attached his partials (not verified here)"


def _wrap(words: Sequence[str]) -> list[str]:
    lines = [""]
    for word in words:
        candidate = f"{lines[-1]} {word}".strip()
        if len(candidate) > _WIDTH and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = candidate
    return lines
