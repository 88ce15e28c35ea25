"""Generates a dataset with known noise, on which a denoiser's mask can be scored.

Items form clusters. A user likes one cluster or two, and walks through each in an order that is nearly the
same for all users: the cluster's ring, each item moved by a random jitter. Noise is an item drawn uniformly
from all other clusters, so that no noise is a preferred item. A user's last two items, the validation and test
targets, are never noise. No user has an item twice.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from iadsr.config.datasets import PlantedSpec
from iadsr.core.columns import ITEM, NOISE, TIMESTAMP, USER

CLEAN_TAIL = 2  # the validation and the test target
JITTER = 2.0  # ring steps by which an item may come late; neighbours then swap one time in eight
STAY = 0.8  # chance to go on in the same cluster for a user who likes two
BOTH = 0.5  # share of users who like two clusters
WORDS_PER_ITEM = 4
_DAY = 86_400
_START = 1_356_998_400  # 2013-01-01

# themes a sentence encoder can tell apart
THEMES = (
    "guitar piano violin drum melody concert orchestra trumpet",
    "kitchen oven recipe baking spoon skillet pastry flour",
    "tennis football hockey stadium referee tournament goalkeeper basketball",
    "planet rocket galaxy astronaut orbit telescope comet satellite",
    "rose tulip garden soil orchid seedling compost greenhouse",
    "kitten puppy hamster leash aquarium parrot veterinarian collar",
    "engine tyre gearbox brake diesel chassis windscreen motorcycle",
    "lipstick mascara perfume shampoo lotion eyeliner moisturizer manicure",
    "castle knight sword dragon wizard kingdom armour sorcerer",
    "laptop keyboard processor software router monitor database compiler",
    "sailboat anchor harbour lighthouse sailor rudder voyage compass",
    "hammer drill screwdriver plywood chisel toolbox carpenter sandpaper",
    "diaper stroller crib lullaby pacifier toddler nursery rattle",
    "hospital surgeon vaccine bandage stethoscope pharmacy diagnosis nurse",
    "sofa curtain carpet lampshade wardrobe cushion bookshelf armchair",
    "detective murder suspect alibi courtroom fingerprint witness burglary",
)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def generate(settings: PlantedSpec) -> tuple[pd.DataFrame, dict[str, str]]:
    """Generate interactions and item texts; the same settings give the same data.

    Returns:
        Interactions by user and time: user(str), item(str), timestamp(int64, seconds, one day per step), noise(bool);
        and item id to text, words of the item's cluster.
    """
    rng = np.random.default_rng(settings.seed)
    size = settings.items // settings.clusters
    # item ids say nothing of the cluster
    ring = rng.permutation(settings.items).reshape(settings.clusters, size)
    likes = rng.random((settings.users, settings.clusters)).argsort(axis=1)[:, :2]
    lengths = _lengths(settings, rng)
    width = settings.max_length
    inside: Bools = np.asarray(np.arange(width) < lengths[:, None])
    noise = _noise_positions(lengths, settings.noise_rate, width, rng)
    items = np.where(noise, _noise_items(noise, likes, ring, rng), _clean_items(inside & ~noise, likes, ring, rng))
    rows, steps = np.nonzero(inside)
    starts = np.floor(rng.random(settings.users) * 365).astype(np.int64)
    flags: Bools = noise[inside]
    table = pd.DataFrame(
        {
            USER: (rows + 1).astype(str),
            ITEM: (items[inside] + 1).astype(str),
            TIMESTAMP: _START + _DAY * (starts[rows] + steps),
            NOISE: flags,
        }
    )
    return table, _texts(ring, rng)


def _lengths(settings: PlantedSpec, rng: np.random.Generator) -> Ints:
    """Draw each user's history length uniformly, (users,)."""
    span = settings.max_length - settings.min_length + 1
    return settings.min_length + np.floor(rng.random(settings.users) * span).astype(np.int64)


def _noise_positions(lengths: Ints, rate: float, width: int, rng: np.random.Generator) -> Bools:
    """Draw the noise positions, (users, width): a share `rate` of all positions, none in the clean tail."""
    counts = np.floor(lengths * rate + rng.random(len(lengths))).astype(np.int64)
    counts = np.minimum(counts, lengths - CLEAN_TAIL)
    keys = rng.random((len(lengths), width))
    keys[np.arange(width) >= (lengths - CLEAN_TAIL)[:, None]] = np.inf
    return np.asarray(_ranks(keys) < counts[:, None])


def _clean_items(clean: Bools, likes: Ints, ring: Ints, rng: np.random.Generator) -> Ints:
    """Draw a preferred item for every clean position, (users, width); other positions hold any item."""
    users, width = clean.shape
    size = ring.shape[1]
    offsets = np.floor(rng.random((users, 2)) * size).astype(np.int64)
    order = (np.arange(size) + JITTER * rng.random((users, 2, size))).argsort(axis=2)
    walk = np.take_along_axis(ring[likes], (order + offsets[:, :, None]) % size, axis=2)
    switches = (rng.random((users, width)) >= STAY) & (rng.random((users, 1)) < BOTH)
    which = np.cumsum(switches & clean, axis=1) % 2
    # a cluster walked to its end: go on in the other one
    taken = np.stack([np.cumsum(clean & (which == side), axis=1) for side in (0, 1)])
    over = np.where(which == 0, taken[0], taken[1]) > size
    which = np.where(over, 1 - which, which)
    taken = np.stack([np.cumsum(clean & (which == side), axis=1) for side in (0, 1)])
    step = np.maximum(np.where(which == 0, taken[0], taken[1]) - 1, 0)
    return np.asarray(walk[np.arange(users)[:, None], which, step], dtype=np.int64)


def _noise_items(noise: Bools, likes: Ints, ring: Ints, rng: np.random.Generator) -> Ints:
    """Draw an item outside the preferred clusters for every noise position, (users, width), distinct per user."""
    users, width = noise.shape
    clusters, size = ring.shape
    cluster = np.empty(clusters * size, dtype=np.int64)
    cluster[ring.ravel()] = np.repeat(np.arange(clusters), size)
    keys = rng.random((users, clusters * size))
    keys[(cluster[None, :] == likes[:, :1]) | (cluster[None, :] == likes[:, 1:])] = np.inf
    drawn = keys.argsort(axis=1)[:, :width]
    nth = np.minimum(np.maximum(np.cumsum(noise, axis=1) - 1, 0), drawn.shape[1] - 1)
    return np.take_along_axis(drawn, nth, axis=1)


def _texts(ring: Ints, rng: np.random.Generator) -> dict[str, str]:
    """Draw each item's text: some words of its cluster in random order."""
    words = [theme.split() for theme in THEMES]
    picks = rng.random((*ring.shape, len(words[0]))).argsort(axis=2)[:, :, :WORDS_PER_ITEM]
    return {
        str(ring[cluster, place] + 1): " ".join(words[cluster][word] for word in picks[cluster, place])
        for cluster in range(ring.shape[0])
        for place in range(ring.shape[1])
    }


def _ranks(keys: npt.NDArray[np.float64]) -> Ints:
    """Rank the entries of each row, 0 for the smallest."""
    return np.asarray(keys.argsort(axis=1).argsort(axis=1), dtype=np.int64)
