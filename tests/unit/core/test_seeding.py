"""Streams are apart and stable."""

from iadsr.core.seeding import derive, generator


def test_purposes_and_seeds_give_different_streams() -> None:
    assert len({derive(seed, purpose) for seed in range(3) for purpose in ("a", "b")}) == 6
    assert generator(1, "a").random() == generator(1, "a").random()
