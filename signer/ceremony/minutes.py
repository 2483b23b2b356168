"""The minutes: who did what when, with every digest. From public files that were checked before."""

from collections.abc import Iterator, Sequence

from signer.ceremony.board import Board
from signer.ceremony.certificate import certificate_digest, group_of
from signer.ceremony.entries import Entry, time_text
from signer.ceremony.roster import ReshareTerms, SplitTerms
from signer.messages.group_file import GroupFile, marked_fingerprint, marked_text
from signer.messages.networks import Network


def minutes_text(board: Board, group: GroupFile | None, entries: Sequence[Entry]) -> str:
    """Return the minutes, to be read and filed.

    Args:
        board: the ceremony's folder.
        group: the active group file that came of it, if there is one.
        entries: what was done, as of `entries_of`.
    """
    roster, mark = board.setting.roster, _Marks(board)
    lines = [
        f"{_KIND_WORDS[roster.kind]} of {roster.group_name!r}",
        "",
        f"ceremony     {mark.short(roster.id)}",
        f"digest       {mark.full(roster.id)}",
        f"network      {_network(roster.network)}",
        f"role         {roster.role}",
        f"threshold    {roster.threshold.t} of {roster.threshold.n}",
        f"policy       {mark.full(roster.policy_digest)}",
        f"open         {time_text(roster.not_before)} to {time_text(roster.expires)}",
    ]
    if isinstance(roster.terms, SplitTerms):
        lines += [f"dealer       {roster.terms.dealer.body.name}, who has held the whole key"]
    if isinstance(roster.terms, ReshareTerms):
        lines += [
            f"follows      epoch {roster.terms.epoch - 1}, group file "
            f"{mark.full(roster.terms.previous)}",
            f"reason       {roster.terms.reason}",
        ]
    lines += ["", "Members"]
    for index, card in enumerate(roster.members, start=1):
        lines.append(f"  {index:>3}  {card.body.name}   card {mark.short(card.digest)}")
    lines += ["", "What was done (times by each participant's own clock)"]
    for entry in entries:
        lines += entry.lines(rehearsal=roster.rehearsal)
    lines += ["", *_result(board, group)]
    return "\n".join(lines)


def _result(board: Board, group: GroupFile | None) -> Iterator[str]:
    outcome, mark = board.outcome, _Marks(board)
    if board.aborted or outcome is None:
        yield "No certificate came of it."
        for verdict in board.verdicts:
            yield verdict.line
        if board.stop is not None:
            yield f"because: {board.stop.message} ({board.stop.code})"
        return
    yield f"transcript   {mark.full(outcome.transcript)}"
    yield f"public key   0x{bytes(outcome.vector.group_public_key).hex()}"
    for index, share in outcome.public_shares.items():
        yield f"  share {int(index):>3}  0x{bytes(share).hex()}"
    if outcome.bindings is not None:
        yield f"bindings     {mark.full(outcome.bindings)}   what the old journals bind, together"
    if not board.certified:
        yield f"Not certified yet: {len(board.missing_agreements)} have not agreed."
        return
    yield f"certificate  {mark.short(certificate_digest(outcome))}"
    yield f"digest       {mark.full(certificate_digest(outcome))}"
    made = group_of(outcome)
    yield f"group        {mark.short(made.group_id)}   epoch {made.epoch}"
    yield f"origin       {made.origin}: {made.origin_words}"
    if missing := board.missing_acknowledgements:
        yield f"Not acknowledged yet: {', '.join(map(str, missing))}."
    elif group is None:
        yield "All members have acknowledged. NOT ACTIVE: the members have not signed together yet."
    else:
        yield "All members have acknowledged, and t of them have signed together: ACTIVE."


class _Marks:
    """How this ceremony's digests are written: a rehearsal's are marked, everywhere."""

    def __init__(self, board: Board) -> None:
        self._rehearsal = board.setting.roster.rehearsal

    def short(self, digest: bytes) -> str:
        """Return the fingerprint, which people compare by voice."""
        return marked_fingerprint(digest, rehearsal=self._rehearsal)

    def full(self, digest: bytes) -> str:
        """Return the whole digest in hex."""
        return marked_text(digest.hex(), rehearsal=self._rehearsal)


def _network(network: Network) -> str:
    return network.name if network.built_in else f"{network.name}, custom, {network.digest.hex()}"


_KIND_WORDS = {
    "dkg": "Key generated together",
    "split": "Key split by a dealer",
    "reshare": "Shares dealt anew",
}
