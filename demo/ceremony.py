"""`make demo-ceremony`: five people make a key together; one cheats, one loses his token."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from demo import stage
from demo.__main__ import HERE, NAMES, THRESHOLD
from demo.verification import verify_file
from signer.testing.ceremony import Ceremony
from signer.testing.pool import CommandFailedError, Holder, Pool, summary

NEWCOMER = "Farida"
CHEAT, VICTIM, LOST = 5, 3, 4  # share indices
LATER = ("cheated", "repaired", "reshared", "signed")  # folders in --out, beside the first ceremony
MADE = ("deal-*", "agree-*", "ack-*", "drill-*", "roster", "policy", "certificate", "group*",
        "summary")  # fmt: skip


def run(folder: Path, out: Path) -> int:
    """Hold the ceremonies in `folder` and leave their files in `out`."""
    started = time.monotonic()
    print("Five people make a withdrawal key together; nobody ever holds the whole of it. They are")
    print("folders on this machine, and exchange files. On SoftHSM, which protects nothing: so it")
    print("is a rehearsal, and every fingerprint says so.\n")

    with Pool.with_tokens(folder / "people", NAMES) as pool:
        shutil.copy(HERE / "policy.yaml", pool.policy)
        story = Story(pool, folder / "ceremonies")
        story.tell("each of the five made keys on his token, and a card of them")
        story.generate()
        story.sign(range(1234501, 1234504), story.members)
        story.cheat()
        story.repair()
        story.reshare()
        left = leave(out, story)
        seconds = time.monotonic() - started
        story.facts["seconds"] = round(seconds, 2)
    (out / "summary.json").write_text(json.dumps(story.facts, indent=2) + "\n")
    print(f"\n{out} has the public files of all of it. Look again, offline:")
    for path in left:
        print(f"  signer ceremony verify {path}")
    print(f"{seconds:.0f} seconds.")
    return 0


@dataclass
class Story:
    """The ceremonies one after the other, and what there is to remember of them."""

    pool: Pool
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    number: int = 0  # of the last step that was printed

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.members = list(self.pool.holders)

    def tell(self, words: str, *more: str) -> None:
        """Print the next step, and lines below it."""
        self.number += 1
        print(f" {self.number:>2}  {words}", flush=True)
        for line in more:
            print(f"     {line}", flush=True)

    def generate(self) -> None:
        """Generate the key, and activate it."""
        people = self.members
        ceremony = Ceremony(self.pool, self.folder / "generated", people)
        together(ceremony.card_of, people)
        ceremony.new("dkg", people, THRESHOLD, "--network", "mainnet", "--name", "demo pool")
        together(ceremony.join, people)
        self.tell(
            f"Ada proposed to generate a key, {THRESHOLD} of {len(people)}; each compared the "
            "fingerprint, and joined:",
            f"REHEARSAL {ceremony.fingerprint}",
        )
        for what in ("dealt", "agreed", "acknowledged"):
            for holder in people:
                ceremony.next(holder)
            self.tell(_ROUNDS[what])
        first, pending = people[0], ceremony.folder / "group-pending.json"
        first.envelope.write_bytes(ceremony.envelope(first).read_bytes())
        self.follow(pending)
        self.refuse(first, "E_NOT_ACTIVE")
        self.tell("an agent that was asked to sign already refused: E_NOT_ACTIVE")
        group = ceremony.activate(people)
        self.tell("all five signed once together, through their agents: the group is active")
        self.follow(group)
        self.facts["group_public_key"] = self.shown()["group_public_key"]
        self.require_verified(ceremony.folder)

    def refuse(self, holder: Holder, code: str) -> None:
        """Let one agent be asked for a signature that it must not give, and for which reason."""
        name = f"{code}-{self.shown()['epoch']}-{holder.index}"
        request = self.pool.request([1234500], name=f"{name}.json")
        self.pool.start_agent(holder)
        out = self.folder / name
        done = self.pool.sign(request, out, agents=[holder.socket], expect=None)
        self.pool.stop_agent(holder)
        if not done.returncode or code not in done.stdout + done.stderr:
            raise CommandFailedError(f"an agent was to answer {code}:\n{done.stdout}")

    def sign(self, validators: Sequence[int], holders: Sequence[Holder]) -> None:
        """Have these holders' agents sign a request, and verify what comes of it."""
        for holder in holders:
            self.pool.start_agent(holder)
        request = self.pool.request(validators, name=f"request-{validators[0]}.json")
        sockets = [holder.socket for holder in holders]
        result = summary(self.pool.sign(request, self.folder / "signed", agents=sockets))
        for holder in holders:
            self.pool.stop_agent(holder)
        signers = [self.members[index - 1].name for index in result["signers"]]
        if len(signers) != THRESHOLD:
            raise CommandFailedError(f"{len(signers)} signed, not {THRESHOLD}")
        checked = verify_file(Path(result["file"]))
        self.facts.setdefault("signed", []).append(checked)
        self.tell(
            f"{', '.join(signers)} signed {checked} changes; py_ecc, which is not ours, verified "
            "them"
        )

    def cheat(self) -> None:
        """Hold a second ceremony in which one dealer seals another a wrong share."""
        people = self.members
        ceremony = Ceremony(self.pool, self.folder / "cheated", people)
        together(ceremony.card_of, people)
        ceremony.new("dkg", people, THRESHOLD, "--network", "mainnet", "--name", "second key")
        together(ceremony.join, people)
        cheat, victim = people[CHEAT - 1], people[VICTIM - 1]
        deal_falsely(ceremony, cheat, victim)
        for holder in people:
            ceremony.next(holder)
        honest = [holder for holder in people if holder is not cheat]
        ceremony.next(victim, expect=None)
        self.tell(
            f"a second key; {cheat.name} sealed {victim.name} a share off his polynomial. "
            f"{victim.name}'s token",
            "opened it, and he complained instead of agreeing",
        )
        ceremony.next(cheat, expect=None)
        named = [ceremony.next(holder, expect=1)["words"] for holder in honest]
        if any(cheat.name not in words for words in named):
            raise CommandFailedError(f"the cheat was not named: {named}")
        self.tell(
            f"{cheat.name} had to open that one ciphertext for everybody, and all others are told:",
            named[0],
        )
        self.facts["cheat_named"] = cheat.name
        done = self.pool.run("ceremony", "verify", ceremony.folder, expect=1)
        if "GUILTY" not in done.stdout:
            raise CommandFailedError("the minutes do not name the cheat")

    def repair(self) -> None:
        """Destroy a token with its machine, and give its holder the share back."""
        lost = self.members[LOST - 1]
        shutil.rmtree(lost.folder)
        back = self.add(lost.name)
        back.index = LOST
        helpers = [holder for holder in self.members if holder is not lost][:THRESHOLD]
        ceremony = Ceremony(self.pool, self.folder / "repaired", [*helpers, back])
        ceremony.cards = {holder.index: holder.folder / "card-generated.json" for holder in helpers}
        ceremony.cards[LOST] = back.card
        ceremony.options = {holder.index: ["--envelope", holder.envelope] for holder in helpers}
        ceremony.groups = {holder.index: self.pool.group for holder in ceremony.people}
        asked = [part for holder in helpers for part in ("--helper", str(holder.index))]
        self.pool.run("ceremony", "new", "repair", "--previous", self.pool.group, "--lost",
                      str(LOST), *asked, "--card", back.card, "--out", ceremony.folder)  # fmt: skip
        together(partial(ceremony.join, group=self.pool.group), ceremony.people)
        ceremony.run("done")
        self.require_verified(ceremony.folder)
        self.members[LOST - 1] = self.pool.holders[LOST - 1] = back
        self.follow(ceremony.folder / "group-repaired.json")
        back.envelope.write_bytes(ceremony.envelope(back).read_bytes())
        self.tell(
            f"{lost.name}'s machine and token were destroyed. {names_of(helpers)} repaired her",
            "share onto a new token; none of them has seen it",
        )
        self.refuse(back, "E_JOURNAL_EMPTY")
        self.take_over_bindings(back, helpers)
        self.tell(
            "her agent would not sign (E_JOURNAL_EMPTY) before it knew what their journals bind"
        )
        self.sign(range(1234504, 1234506), [*helpers[: THRESHOLD - 1], back])
        self.facts["repaired"] = LOST

    def take_over_bindings(self, holder: Holder, others: Sequence[Holder]) -> None:
        """Let the returning holder import what the others' journals bind."""
        statements = []
        for other in others:
            statements.append(other.folder / "bindings.json")
            self.pool.run("journal", "export", other.journal.parent, "--bindings",
                          *other.token_options, "--out", statements[-1], holder=other)  # fmt: skip
        config = self.pool.write_agent_config(holder)
        self.pool.run("journal", "import", "--bindings", "--config", config, *statements)

    def reshare(self) -> None:
        """Deal the shares anew to six, and destroy every old key."""
        newcomer = self.add(NEWCOMER)
        self.pool.holders.append(newcomer)
        old, members = list(self.members), [*self.members, newcomer]
        ceremony = Ceremony(self.pool, self.folder / "reshared", members)
        for holder in old:
            past = holder.folder / f"epoch-{self.shown()['epoch']}.envelope.json"
            past.write_bytes(holder.envelope.read_bytes())
            ceremony.options[holder.index] = ["--envelope", past, "--journal", holder.journal,
                                              "--yes-destroy"]  # fmt: skip
        ceremony.groups = {holder.index: self.pool.group for holder in old}
        together(ceremony.card_of, members)
        dealers = [part for holder in old[:THRESHOLD] for part in ("--dealer", str(holder.index))]
        ceremony.new("reshare", members, THRESHOLD, "--previous", self.pool.group, *dealers,
                     "--reason", "add")  # fmt: skip
        together(ceremony.join, members)
        ceremony.run()
        self.tell(
            f"{NEWCOMER} came; {names_of(old[:THRESHOLD])} dealt the shares anew, {THRESHOLD} of "
            f"{len(members)}, and",
            "with them what their journals bind",
        )
        group = ceremony.activate(members)
        self.members = members
        before = self.facts["group_public_key"]
        self.follow(group)
        if self.shown()["group_public_key"] != before:
            raise CommandFailedError("the group's key has changed")
        self.require_verified(ceremony.folder)
        receipts = self.status(ceremony.folder)["destroyed"]
        words = self.pool.run("ceremony", "status", ceremony.folder).stdout.splitlines()
        self.tell(
            "the six signed once together; then every old holder destroyed the key of his old",
            f"share, and signed a receipt: {len(receipts)}",
            *(line for line in words if line.startswith("epoch ")),
        )
        self.facts["destroyed"] = len(receipts)
        self.refuse(members[0], "E_JOURNAL_EMPTY")
        together(ceremony.take_over, members)
        self.tell("no agent signed before its journal knew what the old shares were bound to")
        self.sign(range(1234506, 1234508), members)

    # What every part needs

    def add(self, name: str) -> Holder:
        """Let somebody come with a new token."""
        place = self.folder.parent / name
        (holder,) = Pool.with_tokens(place, [name]).holders
        holder.index = len(self.pool.holders) + 1
        return holder

    def follow(self, group: Path) -> None:
        """Have all go on with this group file."""
        self.pool.group.parent.mkdir(exist_ok=True)
        shutil.copy(group, self.pool.group)

    def shown(self) -> dict[str, Any]:
        """Return what `group show` says of the group."""
        return summary(self.pool.run("group", "show", self.pool.group, "--json"))

    def status(self, folder: Path) -> dict[str, Any]:
        """Return a ceremony's state."""
        return summary(self.pool.run("ceremony", "status", folder, "--json"))

    def require_verified(self, folder: Path) -> None:
        """Check a ceremony from its public files alone."""
        if not summary(self.pool.run("ceremony", "verify", folder, "--json"))["verified"]:
            raise CommandFailedError(f"{folder.name} does not verify")


_ROUNDS = {
    "dealt": "each dealt: a polynomial of his own, committed to, a share sealed to every other",
    "agreed": "each opened his five shares on his token, checked all five deals, and agreed",
    "acknowledged": "each sealed the sum to his token, opened it again, and proved that it signs",
}


def together(act: Callable[[Holder], object], holders: Sequence[Holder]) -> None:
    """Have all holders do this at the same time, as people do who need not wait for each other."""
    with ThreadPoolExecutor(len(holders)) as people:
        list(people.map(act, holders))


def names_of(holders: Sequence[Holder]) -> str:
    """Return their names in one phrase."""
    names = [holder.name for holder in holders]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def deal_falsely(ceremony: Ceremony, cheat: Holder, victim: Holder) -> None:
    """Have the cheat's own token sign a deal that an honest one would not."""
    done = subprocess.run(
        [sys.executable, "-m", "demo.cheating_dealer", str(ceremony.folder),
         "--state", str(ceremony.state(cheat)), *cheat.token_options,
         "--victim", str(victim.index)],
        cwd=HERE.parent, env=cheat.token.environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise CommandFailedError(f"the cheating dealer: {done.stderr}")


def leave(out: Path, story: Story) -> list[Path]:
    """Put the ceremonies into `out`, in place of an earlier demo's; return their folders.

    The first one's files lie in `out` itself, what came later in folders of their own.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in LATER:
        shutil.rmtree(out / name, ignore_errors=True)
    for pattern in MADE:
        for old in out.glob(f"{pattern}.json"):
            old.unlink()
    shutil.copytree(story.folder / "generated", out, dirs_exist_ok=True)
    left = [out]
    for name in LATER:
        if (story.folder / name).exists():
            shutil.copytree(story.folder / name, out / name)
            left += [out / name] if (out / name / "roster.json").exists() else []
    return left


if __name__ == "__main__":
    sys.exit(stage.main("make demo-ceremony", __doc__, run))
