"""Who convenes lies in the roster, in the policy or in the group file: nobody joins.

The liar is `tests.hostile.organiser`. Whoever is to join hears the true fingerprint of the lie, so
that it is the lie itself which is refused, and not another roster than the others have.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from signer.testing.ceremony import Ceremony
from signer.testing.pool import Pool
from tests.hostile.lies import LIES
from tests.simulators.proposed import heard, proposed

pytestmark = [pytest.mark.softhsm, pytest.mark.timeout(300)]
ALL = ("dkg", "split", "reshare", "repair")
SHARES = ALL[:3]


@dataclass(frozen=True)
class Case:
    """A lie, and what it must come to."""

    lie: str
    number: str  # of the catalogue
    what: str
    code: str
    words: str
    kinds: tuple[str, ...] = SHARES
    otherwise: dict[str, tuple[str, str]] = field(default_factory=dict)  # by kind: code, words

    def params(self) -> Iterator[ParameterSet]:
        """Yield one test for each kind of ceremony."""
        for kind in self.kinds:
            code, words = self.otherwise.get(kind, (self.code, self.words))
            number = "C22" if (kind, self.number) == ("repair", "C20") else self.number
            mark = pytest.mark.case(number, f"roster of a {kind}: {self.what}")
            yield pytest.param(kind, self.lie, code, words, id=f"{kind}-{self.lie}", marks=mark)


TAKEN = {"repair": ("E_ROSTER", "shows a key of 'Ben'")}
CASES = [
    Case("t-0", "P1", "t = 0", "E_THRESHOLD", "0 of "),
    Case("t-1", "P1", "t = 1", "E_THRESHOLD", "would let a single holder sign"),
    Case("t-over", "P1", "t = n + 1", "E_THRESHOLD", "can never sign"),
    Case("t-65536", "P1", "t = 2^16", "E_THRESHOLD", "can never sign"),
    Case("t-65537", "P1", "t = 2^16 + 1", "E_SCHEMA", "threshold"),
    Case("t-text", "P1", "t is text", "E_SCHEMA", "threshold"),
    Case("nobody", "P2", "no member", "E_SCHEMA", "members"),
    Case("alone", "P2", "one member", "E_THRESHOLD", "1 holders"),
    Case("crowd", "P2", "101 members", "E_SCHEMA", "members"),
    Case("numbered", "P3", "a member with an index of his own", "E_SCHEMA", "'index'"),
    Case("dealer-0", "P3", "dealer 0", "E_THRESHOLD", "'dealers'", ("reshare",)),
    Case("dealer-negative", "P3", "dealer -1", "E_THRESHOLD", "'dealers'", ("reshare",)),
    Case("dealer-101", "P3", "dealer 101", "E_THRESHOLD", "'dealers'", ("reshare",)),
    Case("dealer-r", "P3", "dealer r", "E_SCHEMA", "out of range", ("reshare",)),
    Case("dealer-text", "P3", "dealer '1'", "E_SCHEMA", "'dealers'", ("reshare",)),
    Case("one-identity", "P4", "one identity for two", "E_GROUP_FILE", "the same key"),
    Case("identity-for-all", "P4", "a kex that is the identity", "E_CARD", "one key", ALL),
    Case("backup-is-primary", "P4", "a spare that is the primary", "E_CARD", "one key", ALL),
    Case("bens-key", "P4", "another's kex", "E_GROUP_FILE", "same key", ALL, TAKEN),
    Case("bens-key-as-spare", "P4", "another's kex for a spare", "E_GROUP_FILE", "same key", ALL,
         TAKEN),
    Case("name-taken", "P4", "one name for two", "E_GROUP_FILE", "same name", ALL,
         {"repair": ("E_ROSTER", "same name")}),
    Case("kex-infinity", "P5", "a kex at infinity", "E_CARD", "kex is not a point", ALL),
    Case("kex-off-curve", "P5", "a kex off the curve", "E_CARD", "kex is not a point", ALL),
    Case("kex-compressed", "P5", "a compressed kex", "E_CARD", "kex is not", ALL),
    Case("kex-p384", "P5", "a kex of P-384", "E_CARD", "kex is not", ALL),
    Case("backup-off-curve", "P5", "a spare off the curve", "E_CARD", "kex_backup is not", ALL),
    Case("identity-off-curve", "P5", "an identity off the curve", "E_CARD", "id_sign is not", ALL),
    Case("without-me", "P6", "without me", "E_ROSTER", "Ada takes no part", ("dkg", "split")),
    Case("me-twice", "P6", "me twice", "E_GROUP_FILE", "'Ada' and 'Ada'"),
    Case("my-old-card", "P6", "my old kex", "E_ROSTER", "another card of Ada", SHARES,
         {"reshare": ("E_ROSTER", "receiving key of the old epoch")}),
    Case("borrowed-root", "P7", "mainnet with Holesky's root", "E_NETWORK", "built-in"),
    Case("root-of-zeros", "P7", "a root of zeros", "E_NETWORK", "all zeros"),
    Case("root-of-mainnet", "P7", "mainnet under another name", "E_NETWORK", "root of mainnet"),
    Case("fork-version", "P7", "mainnet with another fork version", "E_NETWORK", "built-in"),
    Case("more", "P8", "a variant", "E_SCHEMA", "unknown field 'variant'", ALL),
    Case("dst", "P8", "a ciphersuite of G1", "E_SCHEMA", "unknown field 'ciphersuite'"),
    Case("no-role", "P9", "no role", "E_SCHEMA", "'role' is missing"),
    Case("unknown-role", "P9", "a role that nobody knows", "E_SCHEMA", "'role'"),
    Case("over", "P10", "its time is over", "E_CEREMONY_EXPIRED", "is over", ALL),
    Case("early", "P10", "it has not begun", "E_CEREMONY_EXPIRED", "not begun", ALL),
    Case("never-open", "P10", "it is never open", "E_SCHEMA", "'expires'", ALL),
    Case("ten-years", "P10", "it is open for ten years", "E_SCHEMA", "'expires'", ALL),
    Case("other-policy", "P11", "another policy beside it", "E_POLICY", "not the policy"),
    Case("no-policy", "P11", "no policy beside it", "E_INPUT", "policy"),
    Case("pays-nobody", "P11", "an empty allow list", "E_SCHEMA", "'addresses'"),
    Case("lets-nothing-through", "P11", "a policy of nothing", "E_SCHEMA", "nothing through"),
    Case("checksum", "P11", "a wrong EIP-55 checksum", "E_ADDRESS", "EIP-55"),
    Case("ens-name", "P11", "an ENS name", "E_ADDRESS", "40 hex digits"),
    Case("pays-zero", "P11", "it pays to zero", "E_TARGET", "nobody owns"),
    Case("pays-precompile", "P11", "it pays to a precompile", "E_TARGET", "nobody owns"),
    Case("another-policy", "P11", "a policy not in force", "E_ROSTER", "not the one in force",
         ("reshare",)),
    Case("version-2", "P13", "version 2", "E_SCHEMA", "'version'", ALL),
    Case("version-0", "P13", "version 0", "E_SCHEMA", "'version'", ALL),
    Case("another-type", "P13", "another type", "E_SCHEMA", "'type'", ALL),
    Case("key-infinity", "P14", "a key at infinity", "E_POINT", "infinity", ("split",)),
    Case("key-outside", "P14", "a key outside the group", "E_POINT", "outside", ("split",)),
    Case("key-no-point", "P14", "a key that is no point", "E_POINT", "public key", ("split",)),
    Case("dealer-with-bens-key", "P4", "a dealer with a member's kex", "E_GROUP_FILE", "same key",
         ("split",)),
    Case("seven-keys", "C24", "seven keys", "E_SCHEMA", "'keys'"),
    Case("altered-card", "X807", "an altered card", "E_CARD", "signature does not verify", ALL),
    Case("dealer-altered", "X807", "an altered card of the dealer", "E_CARD", "the dealer's card",
         ("split",)),
    Case("no-rehearsal", "X808", "software tokens, no rehearsal", "E_ROSTER", "protects nothing",
         ALL, {"repair": ("E_ROSTER", "a rehearsal stays one")}),
    Case("with-terms", "X809", "terms of another kind", "E_SCHEMA", "'terms'", ("dkg",)),
    Case("as-split", "X809", "a split without terms", "E_SCHEMA", "terms", ("dkg",)),
    Case("no-terms", "X809", "no terms", "E_SCHEMA", "terms", ("split",)),
    Case("one-dealer", "C20", "fewer dealers than t", "E_ROSTER", "1 old holders", ("reshare",)),
    Case("t-dealers", "C20", "fewer than n - t + 1", "E_ROSTER", "2 old holders", ("reshare",)),
    Case("strange-dealer", "C20", "a dealer who has no share", "E_ROSTER", "no holder",
         ("reshare",)),
    Case("dealer-twice", "C20", "a dealer twice", "E_SCHEMA", "ascending", ("reshare",)),
    Case("dealers-unordered", "C20", "dealers out of order", "E_SCHEMA", "ascending",
         ("reshare",)),
    Case("no-dealers", "C20", "no dealer", "E_SCHEMA", "'dealers'", ("reshare",)),
    Case("unknown-previous", "C20", "an unknown group file", "E_ROSTER", "another group file",
         ("reshare", "repair")),
    Case("no-previous", "C20", "no group file beside it", "E_ROSTER", "needs the group file",
         ("reshare", "repair")),
    Case("another-group", "C20", "another group", "E_ROSTER", "another group",
         ("reshare", "repair")),
    Case("epoch-skipped", "C20", "an epoch skipped", "E_ROSTER", "must be 2", ("reshare",)),
    Case("epoch-repeated", "C20", "an epoch repeated", "E_SCHEMA", "'epoch'", ("reshare",)),
    Case("another-network", "C20", "another network", "E_ROSTER", "network or role", ("reshare",)),
    Case("another-role", "C20", "another role", "E_ROSTER", "network or role", ("reshare",)),
    Case("not-active", "C20", "a group that is not active", "E_ROSTER", "not active",
         ("reshare", "repair")),
    Case("another-group-file", "C20", "a group file that is not mine", "E_ROSTER", "that you use",
         ("reshare", "repair")),
    Case("old-key-of-another", "C20", "a kex of the old epoch, shown by a newcomer", "E_ROSTER",
         "is on the card of Mallory", ("reshare",)),
    Case("old-identity-as-kex", "C20", "an old identity for a kex", "E_GROUP_FILE", "same key",
         ("reshare",)),
    Case("no-such-share", "C22", "index not in the group", "E_ROSTER", "no share 5", ("repair",)),
    Case("share-0", "C22", "index 0", "E_SCHEMA", "'lost'", ("repair",)),
    Case("share-101", "C22", "index 101", "E_SCHEMA", "'lost'", ("repair",)),
    Case("my-live-share", "C22", "my own live index", "E_ROSTER", "share 1, which is Ada's",
         ("repair",)),
    Case("lost-one-helps", "C22", "my own live index, and I help", "E_ROSTER", "repair himself",
         ("repair",)),
    Case("few", "C22", "fewer helpers than t", "E_ROSTER", "1 helpers, 2 are", ("repair",)),
    Case("twice", "C22", "a helper twice", "E_SCHEMA", "ascending", ("repair",)),
    Case("unordered", "C22", "helpers out of order", "E_SCHEMA", "ascending", ("repair",)),
    Case("nobody-helps", "C22", "no helper", "E_SCHEMA", "'helpers'", ("repair",)),
    Case("helper-0", "C22", "helper 0", "E_THRESHOLD", "'helpers'", ("repair",)),
    Case("strange-helper", "C22", "a helper without a share", "E_ROSTER", "only 4 shares",
         ("repair",)),
    Case("another-epoch", "C22", "another epoch", "E_ROSTER", "epoch", ("repair",)),
    Case("lost-key", "C22", "the lost kex on the new card", "E_ROSTER", "a key of 'Dan'",
         ("repair",)),
    Case("bens-identity", "C22", "another's identity on the new card", "E_ROSTER", "of 'Ben'",
         ("repair",)),
    Case("loose", "X810", "in no canonical form", "E_ROSTER", "canonical", ("repair",)),
]  # fmt: skip
TESTS = [param for case in CASES for param in case.params()]


@pytest.fixture(scope="module")
def honest(softhsm_here: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ceremony]:
    return proposed(tmp_path_factory.mktemp("organiser") / "p")


def join(ceremony: Ceremony, folder: Path, state: Path) -> tuple[int, str]:
    """Let Ada join what lies in a folder; return the status, and what she was told."""
    ada = ceremony.pool.holders[0]
    own = ("--group", ceremony.pool.group) if ada.index in ceremony.groups else ()
    done = ceremony.pool.run(
        "ceremony", "join", folder, "--state", state, "--card", ceremony.card_of(ada),
        "--fingerprint", heard(folder), *own, holder=ada, expect=None,
    )  # fmt: skip
    assert not done.returncode or not done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize(("kind", "lie", "code", "words"), TESTS)
def test_a_lie_is_refused(
    honest: dict[str, Ceremony], kind: str, lie: str, code: str, words: str, tmp_path: Path
) -> None:
    ceremony, state = honest[kind], tmp_path / "state"
    folder = ceremony.pool.folder / f"lies-{kind}" / lie
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    status, told = join(ceremony, folder, state)
    assert status == 1, told
    assert told.startswith(f"{code}: "), told
    assert words in told
    assert told.count("\n") == 1
    assert "bug" not in told
    assert not state.exists()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("kind", ALL)
def test_every_lie_is_tried_and_the_truth_is_joined(
    honest: dict[str, Ceremony], kind: str, tmp_path: Path
) -> None:
    tried = {case.lie for case in CASES if kind in case.kinds}
    assert tried | {"honest"} == set(LIES[kind])
    folder = honest[kind].pool.folder / f"lies-{kind}" / "honest"
    assert (
        folder.joinpath("roster.json").read_bytes()
        == (honest[kind].folder / "roster.json").read_bytes()
    )
    assert join(honest[kind], folder, tmp_path / "state")[0] == 0
    assert list((tmp_path / "state").glob("ceremony-*/joined.json"))


USED = {
    "dkg": "a receiving key that an earlier ceremony used",
    "split": "another ceremony about the same key",
    "reshare": "another ceremony about the same shares",
    "repair": "another ceremony about the same shares",
}


@pytest.mark.case("P12", "roster with the nonce of an earlier ceremony")
@pytest.mark.parametrize("kind", ALL)
def test_a_nonce_is_joined_once(honest: dict[str, Ceremony], kind: str, tmp_path: Path) -> None:
    ceremony, state = honest[kind], tmp_path / "state"
    assert join(ceremony, ceremony.folder, state)[0] == 0
    kept = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    again = tmp_path / "again"
    again.mkdir()
    for path in ceremony.folder.iterdir():
        (again / path.name).write_bytes(path.read_bytes())
    roster = json.loads((again / "roster.json").read_bytes())
    for nonce, words in ((roster["nonce"], "nonce is that of an earlier one"), ("11" * 32, None)):
        roster |= {"nonce": nonce, "expires": roster["expires"] - 1}
        raw = json.dumps(roster, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        (again / "roster.json").write_bytes(raw)
        status, told = join(ceremony, again, state)
        error = told.splitlines()[-1]  # after what there is to read before one joins
        assert (status, error.partition(":")[0]) == (1, "E_ROSTER")
        assert (words or USED[kind]) in told
        assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == kept


@pytest.mark.case("X811", "another roster, group file or policy laid after everybody has joined")
@pytest.mark.parametrize("name", ["roster.json", "previous.json"])
def test_what_is_exchanged_after_joining(
    honest: dict[str, Ceremony], name: str, tmp_path: Path
) -> None:
    ceremony, state = honest["reshare"], tmp_path / "state"
    there = tmp_path / "there"
    there.mkdir()
    for path in ceremony.folder.iterdir():
        (there / path.name).write_bytes(path.read_bytes())
    assert join(ceremony, there, state)[0] == 0
    lies = ceremony.pool.folder / "lies-reshare"
    lie = {"roster.json": "honest", "previous.json": "another-group-file"}[name]
    raw = (lies / lie / name).read_bytes()
    if name == "roster.json":
        raw = raw.replace(b'"reason":"remove"', b'"reason":"refresh"')
    assert hashlib.sha256(raw).digest() != hashlib.sha256((there / name).read_bytes()).digest()
    (there / name).write_bytes(raw)
    ada = ceremony.pool.holders[0]
    done = ceremony.pool.run(
        "ceremony", "next", there, "--state", state, *ada.token_options,
        "--envelope", ada.envelope, "--journal", ada.journal, holder=ada, expect=1,
    )  # fmt: skip
    code = {"roster.json": "E_CEREMONY_STATE", "previous.json": "E_ROSTER"}[name]
    assert done.stderr.startswith(f"{code}: ")
    assert not list(there.glob("deal-*"))


def test_a_process_of_its_own_ends_the_same(honest: dict[str, Ceremony], tmp_path: Path) -> None:
    ceremony = honest["dkg"]
    folder = ceremony.pool.folder / "lies-dkg" / "seven-keys"
    ada = ceremony.pool.holders[0]
    done = Pool(ceremony.pool.folder).run(
        "ceremony", "join", folder, "--state", tmp_path / "s", "--card", ceremony.card_of(ada),
        "--fingerprint", heard(folder), holder=ada, expect=None,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == join(ceremony, folder, tmp_path / "s")
