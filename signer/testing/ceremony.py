"""A ceremony of a pool on this machine, held through the command line alone.

Every holder has a state folder of his own; the ceremony's folder stands for the USB stick.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signer.testing.pool import CommandFailedError, Holder, Pool

_ROUNDS = 12  # of everybody's `next`; an honest ceremony is over after five


@dataclass
class Ceremony:
    """One ceremony of some of a pool's holders."""

    pool: Pool
    folder: Path
    people: list[Holder]
    cards: dict[int, Path] = field(
        default_factory=dict
    )  # by holder's number: the one in the roster
    options: dict[int, list[str | Path]] = field(default_factory=dict)  # more for his `next`
    groups: dict[int, Path] = field(default_factory=dict)  # the group file of who has an old share

    def card_of(self, holder: Holder) -> Path:
        """Return the card that the holder shows in this ceremony; make it with a fresh key."""
        if holder.index not in self.cards:
            path = holder.folder / f"card-{self.folder.name}.json"
            self.pool.run("token", "card", *holder.token_options, "--fresh-key", "--name",
                          holder.name, "--out", path, holder=holder)  # fmt: skip
            self.cards[holder.index] = path
        return self.cards[holder.index]

    def new(self, kind: str, members: Sequence[Holder], threshold: int, *more: str | Path) -> None:
        """Propose the ceremony."""
        cards = [part for holder in members for part in ("--card", self.card_of(holder))]
        self.pool.run("ceremony", "new", kind, *cards, "--threshold", str(threshold),
                      "--policy", self.pool.policy, "--out", self.folder, *more)  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """What the holders read to each other."""
        shown = self.pool.run("ceremony", "status", self.folder, "--json").stdout
        digits = json.loads(shown)["ceremony"][:32]
        return " ".join(digits[at : at + 4] for at in range(0, 32, 4))

    def state(self, holder: Holder) -> Path:
        """Return the holder's state folder."""
        return holder.folder / "ceremonies"

    def join(self, holder: Holder, card: Path | None = None, group: Path | None = None) -> None:
        """Have one holder join; `group` is the file he uses, if he has an old share."""
        group = group or self.groups.get(holder.index)
        own = () if group is None else ("--group", group)
        self.pool.run("ceremony", "join", self.folder, "--state", self.state(holder),
                      "--card", card or self.card_of(holder), "--fingerprint", self.fingerprint,
                      *own, holder=holder)  # fmt: skip

    def next(self, holder: Holder, *more: str | Path, expect: int | None = 0) -> dict[str, Any]:
        """Have one holder take his next step; return what he was told."""
        done = self.pool.run("ceremony", "next", self.folder, "--state", self.state(holder),
                             *holder.token_options, *self.options.get(holder.index, ()), *more,
                             "--json", holder=holder, expect=expect)  # fmt: skip
        return dict(json.loads(done.stdout))

    def run(self, until: str = "activate") -> None:
        """Let everybody take his steps, round after round, until all are told `until`."""
        told: list[str] = []
        for _ in range(_ROUNDS):
            told = [self.next(holder)["next"] for holder in self.people]
            if all(step in (until, "done") for step in told):
                return
        raise CommandFailedError(f"the ceremony came to {told}, not to {until}")

    def take_over(self, holder: Holder) -> None:
        """Have a holder's journal take over what a reshare's dealers were bound to."""
        config = self.pool.write_agent_config(holder)
        self.pool.run("journal", "import", "--ceremony", self.folder, "--config", config)

    def envelope(self, holder: Holder) -> Path:
        """Return the envelope that the holder's state folder got."""
        (path,) = self.state(holder).glob(f"ceremony-{self.id[:16]}/envelope.json")
        return path

    @property
    def id(self) -> str:
        """The ceremony's id in hex."""
        shown = self.pool.run("ceremony", "status", self.folder, "--json").stdout
        return str(json.loads(shown)["ceremony"])

    def activate(self, members: Sequence[Holder]) -> Path:
        """Start the members' agents, let them sign together once, and return the group file."""
        pending = self.folder / "group-pending.json"
        for holder in members:
            holder.envelope.write_bytes(self.envelope(holder).read_bytes())
            uid = os.geteuid()
            peers = f"{{status: [{uid}], sign: [{uid}], drill: [{uid}]}}"
            self.pool.start_agent(holder, group=f'"{pending}"', peers=peers)
        agents = [part for holder in members for part in ("--agent", holder.socket)]
        self.pool.run("drill", "run", "--activate", "--group", pending, *agents,
                      "--out", self.folder)  # fmt: skip
        for holder in members:
            self.pool.stop_agent(holder)
        self.run("done")
        return self.folder / "group.json"
