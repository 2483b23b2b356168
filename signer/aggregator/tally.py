"""What has been answered so far, what it adds up to, and who spoiled it. No I/O.

A reply counts once, by its share index. A second answer for an index that is the same is ignored; a
different one is kept until the partials themselves tell which of the two is the lie.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from signer.bls.encoding import Signature
from signer.messages.group_file import GroupFile
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from signer.threshold.combine import combine_batch
from signer.threshold.params import ShareIndex


@dataclass(frozen=True, slots=True)
class Culprit:
    """Somebody whose bytes do not verify under the public share he answered for."""

    index: int
    source: str  # the agent's socket, a file, or "request" for the operator's own partials
    code: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and where it came from."""

    source: str
    reply: SignReply


@dataclass(slots=True)
class Tally:
    """The state of one signing. Feed it answers with `add`, then `combine`."""

    request: SignRequest
    group: GroupFile
    random_bytes: Callable[[int], bytes]
    roots: Sequence[bytes] = field(init=False)
    signatures: list[Signature | None] = field(init=False)
    answers: dict[ShareIndex, Answer] = field(default_factory=dict)
    rivals: list[Answer] = field(default_factory=list)  # second, different answers for an index
    culprits: list[Culprit] = field(default_factory=list)
    signers: set[ShareIndex] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.roots = self.request.signing_roots(self.group.network, self.group.public_key)
        self.signatures = [None] * len(self.roots)

    @property
    def need(self) -> int:
        """The threshold t."""
        return self.group.threshold.t

    def add(self, source: str, reply: SignReply) -> bool:
        """Count a reply; tell whether it brought anything new."""
        if reply.index > self.group.threshold.n:
            self.culprits.append(Culprit(reply.index, source, "E_PARTIAL_INDEX"))
            return False
        known = self.answers.get(reply.index)
        if known is None:
            self.answers[reply.index] = Answer(source, reply)
            return True
        if known.reply.partials != reply.partials:
            self.rivals.append(Answer(source, reply))
        return False

    def partials_of(self, position: int) -> dict[ShareIndex, bytes]:
        """Return the partials that stand for the item at `position`."""
        return {
            index: partial
            for index, answer in self.answers.items()
            if (partial := answer.reply.partials[position]) is not None
        }

    def denials(self) -> dict[int, dict[ShareIndex, Denial]]:
        """Return who denied which validator, and why."""
        denials: dict[int, dict[ShareIndex, Denial]] = {}
        for index, answer in self.answers.items():
            for denial in answer.reply.denied:
                denials.setdefault(denial.validator_index, {})[index] = denial
        return denials

    def unsigned(self) -> list[int]:
        """Return the positions of items without a group signature."""
        return [p for p, signature in enumerate(self.signatures) if signature is None]

    def open_positions(self) -> list[int]:
        """Return the positions that more answers could still get signed."""
        denials = self.denials()
        spare = self.group.threshold.n - self.need
        return [
            position
            for position in self.unsigned()
            if len(denials.get(self.request.items[position][0], ())) <= spare
        ]

    def ready(self) -> bool:
        """Tell whether every open item has t partials, so that combining can finish the job."""
        standing = [answer.reply.partials for answer in self.answers.values()]
        return all(
            sum(partials[position] is not None for partials in standing) >= self.need
            for position in self.open_positions()
        )

    def combine(self) -> None:
        """Make the group signatures that the answers allow; drop and name those who lied.

        A liar's answer is dropped whole. If another answer for his index is at hand, it takes its
        place and everything is tried again.
        """
        while positions := self.unsigned():
            columns: Mapping[ShareIndex, Sequence[bytes | None]] = {
                index: [answer.reply.partials[p] for p in positions]
                for index, answer in self.answers.items()
            }
            result = combine_batch(
                [self.roots[p] for p in positions], columns, self.group.vector, self.random_bytes
            )
            for position, signature in zip(positions, result.signatures, strict=True):
                self.signatures[position] = signature
            self.signers |= set(result.signers)
            for index, code in result.culprits.items():
                self.culprits.append(Culprit(index, self.answers.pop(index).source, code))
            if not self._seat_rivals(set(result.culprits)):
                break

    def _seat_rivals(self, vacant: set[ShareIndex]) -> bool:
        seated = False
        for answer in list(self.rivals):
            if answer.reply.index in vacant and answer.reply.index not in self.answers:
                self.answers[answer.reply.index] = answer
                self.rivals.remove(answer)
                seated = True
        return seated
