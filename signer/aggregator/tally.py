"""What has been answered so far, what it adds up to, and who spoiled it. No I/O.

Partials count only under a witness, signed by the holder's identity key; a denial is signed by
nobody. So an index may have several answers, from several sources. One at a time stands: the one
with the most partials, since a partial can be verified and a denial cannot. A lie is dropped whole
and its source named; the next answer takes its place. A partial counts once, by its index.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from signer.bls.encoding import Signature
from signer.bls.scheme import hash_many, verify_batch
from signer.errors import InputError
from signer.messages.dsse import key_id_of
from signer.messages.group_file import GroupFile
from signer.messages.reply import Denial, SignReply
from signer.messages.request import SignRequest
from signer.messages.witness import Witness
from signer.threshold.combine import combine_batch
from signer.threshold.params import ShareIndex
from signer.threshold.partial import decode_partial


@dataclass(frozen=True, slots=True)
class Culprit:
    """A source whose bytes do not verify: its partials, or (E_WITNESS) who says he made them.

    Without `evidence` it proves nothing against the holder, in whose name anybody can answer.
    """

    index: int
    source: str  # the agent's socket, a file, or "request" for the operator's own partials
    code: str
    evidence: SignReply | None = None  # what he signed with his own identity key, if he did


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and where it came from."""

    source: str
    reply: SignReply
    kept: bool = False  # from an earlier run: its partials count, its denials are asked for anew


@dataclass(slots=True)
class Tally:
    """The state of one signing. Feed it answers with `add`, then `combine`."""

    request: SignRequest
    group: GroupFile
    random_bytes: Callable[[int], bytes]
    roots: Sequence[bytes] = field(init=False)
    signatures: list[Signature | None] = field(init=False)
    culprits: list[Culprit] = field(default_factory=list)
    signers: set[ShareIndex] = field(default_factory=set)
    rolled_back: list[tuple[int, str]] = field(default_factory=list)  # index, source
    _answers: dict[ShareIndex, list[Answer]] = field(default_factory=dict)  # the standing one first
    _lock: threading.Lock = field(default_factory=threading.Lock)  # answers come while it combines

    def __post_init__(self) -> None:
        self.roots = self.request.signing_roots(self.group.network, self.group.public_key)
        self.signatures = [None] * len(self.roots)

    @property
    def need(self) -> int:
        """The threshold t."""
        return self.group.threshold.t

    @property
    def answers(self) -> dict[ShareIndex, Answer]:
        """The standing answer of each index."""
        with self._lock:
            return {index: answers[0] for index, answers in self._answers.items() if answers}

    def add(
        self, source: str, reply: SignReply, *, kept: bool = False, operator: bool = False
    ) -> bool:
        """Take a reply; tell whether it is one that was not there before.

        Partials count only under a good witness; those of the `operator`, which his own request
        carries, need none. A spare token signs its witness with a key that nobody else knows: its
        partials count if every one of them verifies.
        """
        if reply.index > self.group.threshold.n:
            self.culprits.append(Culprit(reply.index, source, "E_PARTIAL_INDEX"))
            return False
        good = operator or self._witnessed(source, reply, kept) or self._from_a_spare(reply)
        if any(reply.partials) and not good:
            self.culprits.append(Culprit(reply.index, source, "E_WITNESS"))
            return False
        with self._lock:
            answers = self._answers.setdefault(reply.index, [])
            for place, answer in enumerate(answers):
                if answer.reply.partials == reply.partials:
                    if self.by_unknown_key(answer.reply) and not self.by_unknown_key(reply):
                        answers[place] = Answer(source, reply, kept)  # it says more: it is signed
                    return False
            answers.append(Answer(source, reply, kept))
            answers.sort(key=_unanswered)  # stable: of two alike the first stands
            return True

    def partials_of(self, position: int) -> dict[ShareIndex, bytes]:
        """Return the partials that stand for the item at `position`."""
        return {
            index: partial
            for index, answer in self.answers.items()
            if (partial := answer.reply.partials[position]) is not None
        }

    def denials(self) -> dict[int, dict[ShareIndex, Denial]]:
        """Return who denied the item at which position, and why."""
        denials: dict[int, dict[ShareIndex, Denial]] = {}
        for index, answer in self.answers.items():
            for denial in () if answer.kept else answer.reply.denied:
                denials.setdefault(denial.position, {})[index] = denial
        return denials

    def unsigned(self) -> list[int]:
        """Return the positions of items without a group signature."""
        return [p for p, signature in enumerate(self.signatures) if signature is None]

    def open_positions(self) -> list[int]:
        """Return the positions that more answers could still get signed."""
        denials = self.denials()
        spare = self.group.threshold.n - self.need
        return [position for position in self.unsigned() if len(denials.get(position, ())) <= spare]

    def wanted(self, index: ShareIndex) -> bool:
        """Tell whether another source of `index` could bring a partial that is not there yet."""
        answer = self.answers.get(index)
        if answer is None:
            return True
        return any(answer.reply.partials[position] is None for position in self.unsigned())

    def ready(self) -> bool:
        """Tell whether every open item has t partials, so that combining can finish the job."""
        standing = [answer.reply.partials for answer in self.answers.values()]
        return all(
            sum(partials[position] is not None for partials in standing) >= self.need
            for position in self.open_positions()
        )

    def combine(self) -> None:
        """Make the group signatures that the answers allow; drop and name those who lied."""
        while positions := self.unsigned():
            standing = self.answers
            columns: Mapping[ShareIndex, Sequence[bytes | None]] = {
                index: [answer.reply.partials[p] for p in positions]
                for index, answer in standing.items()
            }
            result = combine_batch(
                [self.roots[p] for p in positions], columns, self.group.vector, self.random_bytes
            )
            for position, signature in zip(positions, result.signatures, strict=True):
                self.signatures[position] = signature
            self.signers |= set(result.signers)
            for index, code in result.culprits.items():
                liar = standing[index]
                evidence = liar.reply if liar.reply.witness is not None else None
                self.culprits.append(Culprit(index, liar.source, code, evidence))
                self._drop(index, standing[index])
            if not result.culprits.keys() & self.answers.keys():
                break

    def _witnessed(self, source: str, reply: SignReply, kept: bool) -> bool:
        """Tell whether the holder's own key says that these partials are his, of this request."""
        id_sign = self.group.card_of(reply.index).body.id_sign
        witness = reply.witness and Witness.open_with(reply.witness, id_sign)
        if not witness:
            return False
        if (witness.group, witness.epoch, witness.index) != (
            self.group.group_id,
            self.group.epoch,
            reply.index,
        ):
            return False
        expected = (self.request.digest, reply.partials_digest)
        if (witness.request_digest, witness.partials_sha256) != expected:
            return False
        if not kept and self._older_than_known(witness, id_sign):
            self.rolled_back.append((int(reply.index), source))
        return True

    def by_unknown_key(self, reply: SignReply) -> bool:
        """Tell whether a key of no holder's card witnessed it: a spare's, if of anybody."""
        known = {key_id_of(point) for point in self.group.id_signs}
        return reply.witness is not None and reply.witness.key_id not in known

    def _from_a_spare(self, reply: SignReply) -> bool:
        """Tell whether a key of no holder's card witnessed it, and the partials are right."""
        signed = reply.witness
        if signed is None or not self.by_unknown_key(reply):
            return False
        try:
            witness = Witness.parse(signed.payload)
            mine = [(p, partial) for p, partial in enumerate(reply.partials) if partial is not None]
            signatures = [decode_partial(partial) for _, partial in mine]
        except InputError:
            return False
        expected = (self.group.group_id, self.group.epoch, reply.index, self.request.digest)
        said = (witness.group, witness.epoch, witness.index, witness.request_digest)
        if said != expected or witness.partials_sha256 != reply.partials_digest or not mine:
            return False
        points = hash_many([self.roots[p] for p, _ in mine])
        public_share = self.group.vector.public_share(reply.index)
        return verify_batch(public_share, points, signatures, self.random_bytes)

    def _older_than_known(self, witness: Witness, id_sign: bytes) -> bool:
        """Tell whether the request itself carries a witness of a later journal of this holder.

        An answer made for this request is of a journal that is ahead of all the request knows. It
        may be an earlier answer to the same items, though, replayed by somebody.
        """
        known = [
            Witness.open_with(signed, id_sign)
            for signed in self.request.witnesses
            if signed.key_id == key_id_of(id_sign)
        ]
        return any(
            w
            and (w.group, w.index) == (witness.group, witness.index)
            and (w.sequence, w.head) != (witness.sequence, witness.head)  # its own, once more
            and w.sequence >= witness.sequence
            for w in known
        )

    def _drop(self, index: ShareIndex, liar: Answer) -> None:
        """Take out the answer that lied; another may have come to stand first meanwhile."""
        with self._lock:
            self._answers[index] = [a for a in self._answers[index] if a is not liar]


def _unanswered(answer: Answer) -> int:
    return sum(partial is None for partial in answer.reply.partials)
