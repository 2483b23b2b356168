"""`make bench`: measure, print, write a flat JSON object. Nothing here passes or fails."""

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import bare, bare_dkg, ceremonies, fixtures, unsealing
from benchmarks.measure import (
    children_cpu_seconds,
    cpu_seconds,
    median_ratio,
    process_cpu_seconds,
    wall_seconds,
)
from signer.bls.scalar import SecretScalar
from signer.bls.scheme import public_key
from signer.custody.custodian import Custodian, module_environment
from signer.custody.desk import Desk
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.journal import Journal
from signer.hsm.profile import load_profile
from signer.messages.request import SignRequest
from signer.testing.pool import Pool, summary
from signer.threshold.combine import combine
from signer.threshold.params import Threshold
from signer.threshold.partial import sign_partials
from signer.threshold.share import split

ITEMS = 1000
KEY = bytes.fromhex("328388aff0d4a5b7dc9205abd374e7e98f3cd9f3418edb4eafda5fb16473d216")  # test key
NAMES = ("Ada", "Boris", "Chidi", "Dolores", "Emeka")


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    results: dict[str, float] = {}

    def note(name: str, value: float, digits: int = 3) -> None:
        results[name] = round(value, digits)
        print(f"{name:<38} {results[name]}", flush=True)

    note("partial_batch_ratio", partial_batch_ratio())
    note("partial_two_threads_speedup", two_threads_speedup())
    for t, n in ((3, 5), (7, 10), (67, 100)):
        note(f"combine_verify_ratio_{t}_of_{n}", combine_verify_ratio(t, n))
    with (
        tempfile.TemporaryDirectory(prefix="signer-bench-") as folder,
        Pool.with_tokens(Path(folder) / "pool", NAMES) as pool,
    ):
        pool.write_policy()
        pool.split(3)
        note("partial_worker_ratio", partial_worker_ratio(pool))
        note("end_to_end_1000_cpu_ratio", end_to_end_ratio(pool))
    key_generation(note)
    with tempfile.TemporaryDirectory(prefix="signer-bench-") as folder:
        note("fixture_token_ms", fixtures.token_milliseconds(Path(folder) / "tokens"))
        note("fixture_pool_s", fixtures.pool_seconds(Path(folder) / "pools"))
    for name, ratio in unsealing.unseal_ratios():
        note(name, ratio)
    note("help_ms", help_milliseconds(), 1)
    out.write_text(json.dumps(results, indent=2) + "\n")


def key_generation(note: Callable[[str, float], None]) -> None:
    """CPU seconds of one holder who generates a key with others, and the size of their files."""
    with (
        tempfile.TemporaryDirectory(prefix="signer-bench-") as folder,
        Pool.with_tokens(Path(folder) / "pool", (*NAMES, "Farida", "Gustavo")) as pool,
    ):
        pool.write_policy()
        note("dkg_5_of_7_cpu_s", ceremonies.on_tokens(pool, 5, Path(folder) / "seven"))
        spent, sizes = ceremonies.among_many(pool, 67, 100, Path(folder) / "hundred")
    note("dkg_67_of_100_cpu_s", spent)
    bare_seconds = statistics.median(bare_dkg.holder_cpu_seconds(67, 100) for _ in range(3))
    note("dkg_bare_ratio", spent / bare_seconds)
    for name, size in asdict(sizes).items():
        note(f"{name}_67_of_100_bytes", size)


def random_roots(count: int) -> list[bytes]:
    """Return `count` different signing roots."""
    return [secrets.token_bytes(32) for _ in range(count)]


def bare_signs(roots: list[bytes]) -> Callable[[], float]:
    """Return the yardstick: CPU seconds of the bare calls for `roots`."""
    return lambda: cpu_seconds(lambda: bare.sign_all(KEY, roots))


def partial_batch_ratio() -> float:
    """The worker's signing loop with its batched self-check / the bare hash and sign calls."""
    roots = random_roots(ITEMS)
    with SecretScalar.from_big_endian(bytearray(KEY)) as scalar:
        share = public_key(scalar)
        return median_ratio(
            lambda: cpu_seconds(
                lambda: sign_partials(scalar, roots, share, random_bytes=secrets.token_bytes)
            ),
            bare_signs(roots),
            rounds=9,
        )


def two_threads_speedup() -> float:
    """One thread / two threads, by the clock."""
    roots = random_roots(ITEMS)
    with SecretScalar.from_big_endian(bytearray(KEY)) as scalar:
        share = public_key(scalar)

        def seconds(threads: int) -> float:
            return wall_seconds(
                lambda: sign_partials(
                    scalar, roots, share, random_bytes=secrets.token_bytes, threads=threads
                )
            )

        return median_ratio(lambda: seconds(1), lambda: seconds(2), rounds=9)


def combine_verify_ratio(t: int, n: int) -> float:
    """Our combine, verification included / the straightforward way, over several sets of t."""
    (root,) = random_roots(1)
    with SecretScalar.from_big_endian(bytearray(KEY)) as key:
        vector, shares = split(key, Threshold(t, n), secrets.token_bytes)
    partials = {}
    for share in shares:
        with share:
            (partial,) = sign_partials(
                share.scalar,
                [root],
                vector.public_share(share.index),
                random_bytes=secrets.token_bytes,
            )
            partials[share.index] = bytes(partial)
    sets = [
        dict(sorted(secrets.SystemRandom().sample(sorted(partials.items()), t))) for _ in range(10)
    ]
    repeats = max(1, 40 // t)

    def ours() -> None:
        for _ in range(repeats):
            for chosen in sets:
                combine(root, chosen, vector, secrets.token_bytes)

    def straightforward() -> None:
        for _ in range(repeats):
            for chosen in sets:
                pairs = [(int(index), partial) for index, partial in chosen.items()]
                bare.straightforward_combine(bytes(vector.group_public_key), root, pairs)

    return median_ratio(lambda: cpu_seconds(ours), lambda: cpu_seconds(straightforward), rounds=9)


def partial_worker_ratio(pool: Pool) -> float:
    """A whole worker, from start over unseal to its end / the bare calls for as many items."""
    holder = pool.holders[0]
    request = SignRequest.parse(pool.request(range(ITEMS), name="worker.json").read_bytes())
    desk = Desk.lay(pool.group, pool.policy, holder.envelope)
    # The journal that its agent will go on with: the token remembers how far it came.
    holder.journal.parent.mkdir(mode=0o700, exist_ok=True)
    with Journal.open(holder.journal, desk.group, desk.index) as journal:
        custodian = Custodian(
            desk=desk,
            journal=journal,
            token=TokenChoice(profile=load_profile("softhsm2"), label=holder.token.label),
            pin=SecretSource(file=str(holder.token.pin_file)),
            environment=module_environment(("SOFTHSM2_CONF",))
            | {"SOFTHSM2_CONF": str(holder.token.config)},
        )
        return median_ratio(
            lambda: children_cpu_seconds(lambda: custodian.sign(request, 0)),
            bare_signs(random_roots(ITEMS)),
            rounds=7,
        )


def end_to_end_ratio(pool: Pool) -> float:
    """1,000 changes through sockets, policy, journals, workers and aggregator, 3 of 5 / their cost.

    The yardstick is the CPU time of 3 × 1,000 bare signs and 1,000 fast combine-verifies.
    """
    pool.start()
    agents = [holder.agent.pid for holder in pool.holders if holder.agent is not None]
    request = pool.request(range(100_000, 100_000 + ITEMS), name="batch.json")
    runs = iter(range(100))

    def ours() -> float:
        before = sum(map(process_cpu_seconds, agents))
        out = pool.folder / f"signed-{next(runs)}"
        signed = 0

        def sign() -> None:
            nonlocal signed
            signed = summary(pool.sign(request, out))["signed"]

        aggregator = children_cpu_seconds(sign)
        if signed != ITEMS:
            raise SystemExit(f"only {signed} changes were signed")
        return aggregator + sum(map(process_cpu_seconds, agents)) - before

    signs, combines = bare_signs(random_roots(ITEMS)), combine_verify_seconds(3, 5)
    return median_ratio(ours, lambda: 3 * signs() + combines(), rounds=3)


def combine_verify_seconds(t: int, n: int) -> Callable[[], float]:
    """Return CPU seconds of 1,000 single fast combine-verifies of different messages."""
    roots = random_roots(ITEMS)
    with SecretScalar.from_big_endian(bytearray(KEY)) as key:
        vector, shares = split(key, Threshold(t, n), secrets.token_bytes)
    columns = {
        share.index: sign_partials(
            share.scalar, roots, vector.public_share(share.index), random_bytes=secrets.token_bytes
        )
        for share in shares[:t]
    }
    for share in shares:
        share.scalar.wipe()

    def work() -> None:
        for position, root in enumerate(roots):
            chosen = {index: bytes(column[position]) for index, column in columns.items()}
            combine(root, chosen, vector, secrets.token_bytes)

    return lambda: cpu_seconds(work)


def help_milliseconds() -> float:
    """The median time of `signer --help` by the clock."""
    command = [str(Path(sys.executable).with_name("signer")), "--help"]

    def once() -> float:
        return wall_seconds(lambda: subprocess.run(command, check=True, capture_output=True))

    once()
    return 1000 * statistics.median(once() for _ in range(11))


if __name__ == "__main__":
    main()
