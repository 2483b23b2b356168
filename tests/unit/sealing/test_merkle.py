import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signer.errors import SchemaError
from signer.sealing.merkle import path, root, root_of

# The log of Certificate Transparency: test data of google/certificate-transparency and
# transparency-dev/merkle (testonly/constants.go), trees of the first 1 to 8 of these leaves.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
PATHS = {  # position among the eight, from the leaf upwards
    0: (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    5: (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}

trees = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


@pytest.mark.parametrize("count", range(1, 9))
def test_known_roots(count: int) -> None:
    assert root(LEAVES[:count]).hex() == ROOTS[count - 1]


@pytest.mark.parametrize("position", PATHS)
def test_known_paths(position: int) -> None:
    known = [bytes.fromhex(entry) for entry in PATHS[position]]
    assert path(LEAVES, position) == known
    assert root_of(LEAVES[position], position, 8, known).hex() == ROOTS[7]


@given(trees)
def test_every_leaf_is_under_the_root(leaves: list[bytes]) -> None:
    expected = root(leaves)
    for position, leaf in enumerate(leaves):
        assert root_of(leaf, position, len(leaves), path(leaves, position)) == expected


@pytest.mark.case("X640", "a leaf, a position, a count or a path that is not the tree's")
@given(st.data(), st.sets(st.binary(max_size=8), min_size=2, max_size=40))
def test_nothing_else_is(data: st.DataObject, chosen: set[bytes]) -> None:
    leaves = sorted(chosen)
    count = len(leaves)
    expected = root(leaves)
    position, other = data.draw(st.permutations(range(count)))[:2]
    proof = path(leaves, position)
    assert root_of(leaves[other], position, count, proof) != expected
    assert root_of(leaves[position] + b"\x00", position, count, proof) != expected
    bent = list(proof)
    step = data.draw(st.integers(0, len(proof) - 1))
    bent[step] = bytes(byte ^ 1 for byte in bent[step])
    assert root_of(leaves[position], position, count, bent) != expected
    try:
        assert root_of(leaves[position], other, count, proof) != expected
    except SchemaError:
        assert len(path(leaves, other)) != len(proof)


@pytest.mark.case("X640", "a leaf, a position, a count or a path that is not the tree's")
def test_another_count_has_paths_of_another_length_or_shape() -> None:
    """Position 4 of 5 has one hash on its way, of 6 two, of 7 three."""
    proof = path(LEAVES[:5], 4)
    assert len(proof) == 1
    assert root_of(LEAVES[4], 4, 5, proof).hex() == ROOTS[4]
    for count, steps in ((6, 2), (7, 3), (8, 3)):
        with pytest.raises(SchemaError, match=f"{steps} of 32 bytes"):
            root_of(LEAVES[4], 4, count, proof)


@pytest.mark.case("X641", "an inclusion path that is too short, too long, or of odd hashes")
def test_form_of_a_path() -> None:
    proof = path(LEAVES, 3)
    for wrong in ([], proof[:2], [*proof, proof[0]], [proof[0], proof[1], proof[2][:31]]):
        with pytest.raises(SchemaError, match="inclusion path"):
            root_of(LEAVES[3], 3, 8, wrong)
    for position, count in ((-1, 8), (8, 8), (0, 0)):
        with pytest.raises(SchemaError, match="no leaf"):
            root_of(LEAVES[3], position, count, proof)


@pytest.mark.case("X642", "two nodes passed off as a leaf")
def test_a_node_is_no_leaf() -> None:
    hashes = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in LEAVES[:2]]
    assert root([b"".join(hashes)]) != root(LEAVES[:2])
    assert root([b"\x01" + b"".join(hashes)]) != root(LEAVES[:2])


def test_no_leaves() -> None:
    with pytest.raises(ValueError, match="at least one"):
        root([])
    for position in (-1, 2):
        with pytest.raises(ValueError, match="no leaf"):
            path(LEAVES[:2], position)
