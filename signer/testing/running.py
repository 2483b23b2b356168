"""A pool whose agents run: what a test asks for signatures. Real tokens, real processes."""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from signer.aggregator.gather import Asking, Gathering
from signer.aggregator.outcome import Outcome, outcome_of, result_file
from signer.aggregator.tally import Tally
from signer.client import AgentClient
from signer.custody.desk import read_group
from signer.messages.address import ExecutionAddress
from signer.messages.group_file import GroupFile
from signer.messages.request import SignRequest
from signer.testing.hostile.token import HostileToken
from signer.testing.mint import TokenMint
from signer.testing.nursery import Nursery
from signer.testing.pool import TEST_ADDRESS, Holder, Pool
from signer.testing.provision import split_here

NAMES = ("Ada", "Ben", "Cy", "Di", "Eve", "Fay", "Gus")
_ANSWER_SECONDS = 30.0
_VALID_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Signed:
    """What came of a request."""

    messages: list[dict[str, Any]]  # as a beacon node takes them; each was verified
    outcome: Outcome  # who signed, who failed and why

    @property
    def failures(self) -> dict[int, str]:
        """The code of each holder who gave nothing; 0 is one whose number is not known."""
        return {failure.index or 0: failure.code for failure in self.outcome.failures}


@dataclass(slots=True)
class RunningPool:
    """t of n holders, each with a token, a sealed share and an agent. Close it."""

    pool: Pool
    nursery: Nursery
    hostile: dict[int, HostileToken] = field(default_factory=dict)  # by holder's number

    @classmethod
    def make(
        cls, folder: Path, mint: TokenMint, t: int, n: int,
        *, hostile: Collection[int] = (), policy: str = "", addresses: Sequence[str] = (),
        **settings: str,
    ) -> Self:  # fmt: skip
        """Make everything in the new `folder` and start the agents.

        Args:
            folder: where it all lies. A socket's path is short: at most 60 bytes are good.
            mint: makes the tokens.
            t: how many holders sign.
            n: how many there are.
            hostile: numbers of those whose tokens shall be able to misbehave.
            policy: more lines of the policy, YAML.
            addresses: execution addresses that the policy allows; without any, `TEST_ADDRESS`.
            settings: top-level settings of every agent.yaml, YAML.

        Raises:
            SignerError: something of it cannot be.
        """
        nursery = Nursery()  # imports the program while tokens are made here
        pool = cls(Pool(folder, nursery=nursery), nursery)
        try:
            for index in range(1, n + 1):
                place = folder / f"holder-{index}"
                place.mkdir(parents=True)
                token = mint.token(place / "token", f"holder-{index}")
                pool.pool.holders.append(Holder(index, _name_of(index), place, token))
            pool.pool.write_policy(addresses or (TEST_ADDRESS,), more=policy)
            split_here(pool.pool, t)
            for index in sorted(hostile):
                holder = pool.holder(index)
                pool.hostile[index] = HostileToken.in_front_of(
                    holder.token, holder.folder / "hostile"
                )
            pool.start(**settings)
        except BaseException:
            pool.close()
            raise
        return pool

    @property
    def holders(self) -> list[Holder]:
        """The holders, in the order of their shares."""
        return self.pool.holders

    @property
    def group(self) -> GroupFile:
        """The group: its public key, its holders' cards."""
        return read_group(self.pool.group)

    @property
    def sockets(self) -> list[Path]:
        """The agents' sockets."""
        return [holder.socket for holder in self.holders]

    def holder(self, index: int) -> Holder:
        """Return the holder of share `index`, from 1."""
        return self.holders[index - 1]

    def client(self, index: int) -> AgentClient:
        """Return a client of the agent of share `index`."""
        return AgentClient(self.holder(index).socket)

    def request(self, validators: Sequence[int], to: str = TEST_ADDRESS) -> SignRequest:
        """Return the request to pay `validators` out to the address `to`."""
        address = ExecutionAddress.parse(to)
        return SignRequest.new(
            self.group,
            [(index, address) for index in validators],
            expires=int(time.time()) + _VALID_SECONDS,
        )

    def sign(
        self, validators: Sequence[int], to: str = TEST_ADDRESS, *,
        among: Collection[int] | None = None,
    ) -> Signed:  # fmt: skip
        """Have `validators` signed for, as `signer sign` does; by the agents `among` those asked.

        Raises:
            TooFewPartialsError, BadPartialsError, DeniedError: nothing was signed.
        """
        return asyncio.run(self.sign_request(self.request(validators, to), among=among))

    async def sign_request(
        self, request: SignRequest, *, among: Collection[int] | None = None
    ) -> Signed:
        """Have `request` signed; for tests that have an event loop of their own."""
        chosen = [h for h in self.holders if among is None or h.index in among]
        tally = Tally(request, self.group, secrets.token_bytes)
        agents = [AgentClient(holder.socket) for holder in chosen]
        gathering = Gathering(tally, agents, Asking(seconds=_ANSWER_SECONDS))
        await gathering.run()
        outcome = outcome_of(tally, gathering.failures)
        if not outcome.signed:
            raise outcome.error()
        value = json.loads(result_file(tally, metadata=False))
        return Signed(value if isinstance(value, list) else [value], outcome)

    def start(self, **settings: str) -> None:
        """Start every agent that does not run, all at once."""
        own = {index: self._module_of(index) for index in self.hostile}
        self.pool.start(own=own, **settings)

    def stop(self, index: int) -> None:
        """End the agent of share `index`."""
        self.pool.stop_agent(self.holder(index))

    def close(self) -> None:
        """End every agent and remove the files."""
        for holder in self.holders:
            if holder.agent is not None:
                holder.agent.terminate()  # all at once; then each is waited for
        for holder in self.holders:
            self.pool.stop_agent(holder)
        self.nursery.close()
        shutil.rmtree(self.pool.folder, ignore_errors=True)

    def _module_of(self, index: int) -> dict[str, str]:
        label, module = self.holder(index).token.label, self.hostile[index].module
        return {"token": f'{{profile: softhsm2, label: {label}, module: "{module}"}}'}


def _name_of(index: int) -> str:
    return NAMES[index - 1] if index <= len(NAMES) else f"Holder {index}"
