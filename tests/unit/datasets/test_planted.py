"""The generated dataset: sizes, noise, order."""

import numpy as np
import pandas as pd
import pytest

from iadsr.config.datasets import PlantedSpec
from iadsr.datasets.planted import CLEAN_TAIL, THEMES, generate

SETTINGS = PlantedSpec(users=600, items=300, clusters=12, min_length=8, max_length=40, noise_rate=0.2, seed=3)


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, dict[str, str]]:
    return generate(SETTINGS)


def cluster_of(texts: dict[str, str]) -> dict[str, int]:
    words = [set(theme.split()) for theme in THEMES]
    return {
        item: next(at for at, some in enumerate(words) if set(text.split()) <= some) for item, text in texts.items()
    }


def test_sizes_and_lengths(data: tuple[pd.DataFrame, dict[str, str]]) -> None:
    table, texts = data
    lengths = table["user"].value_counts()
    assert (table["user"].nunique(), table["item"].nunique(), len(texts)) == (600, 300, 300)
    assert (lengths.min(), lengths.max()) == (8, 40)


def test_noise_rate_is_met_and_the_tail_is_clean(data: tuple[pd.DataFrame, dict[str, str]]) -> None:
    table, _ = data
    assert table["noise"].mean() == pytest.approx(0.2, abs=0.005)
    assert not table.groupby("user").tail(CLEAN_TAIL)["noise"].any()


def test_no_user_has_an_item_or_a_time_twice(data: tuple[pd.DataFrame, dict[str, str]]) -> None:
    table, _ = data
    assert not table.duplicated(["user", "item"]).any()
    assert not table.duplicated(["user", "timestamp"]).any()


def test_noise_is_outside_the_two_clusters_of_a_user(data: tuple[pd.DataFrame, dict[str, str]]) -> None:
    table, texts = data
    table = table.assign(cluster=table["item"].map(cluster_of(texts)))
    clean = table[~table["noise"]].groupby("user")["cluster"].agg(set)
    assert clean.map(len).max() == 2
    assert 0.4 < (clean.map(len) == 2).mean() < 0.9
    noise = table[table["noise"]]
    assert not any(cluster in clean[user] for user, cluster in zip(noise["user"], noise["cluster"], strict=True))
    assert noise["cluster"].value_counts(normalize=True).to_numpy() == pytest.approx(np.full(12, 1 / 12), abs=0.02)


def test_the_clean_order_is_predictable(data: tuple[pd.DataFrame, dict[str, str]]) -> None:
    table, texts = data
    cluster = cluster_of(texts)
    clean = table[~table["noise"]]
    pairs = pd.DataFrame({"now": clean["item"], "next": clean.groupby("user")["item"].shift(-1)}).dropna()
    pairs = pairs[pairs["now"].map(cluster) == pairs["next"].map(cluster)]
    commonest = pairs.groupby("now")["next"].agg(lambda column: column.value_counts(normalize=True).iloc[0])
    assert commonest.mean() > 0.4  # uniform choice inside a cluster would give about 0.1


def test_the_same_settings_give_the_same_data_and_another_seed_others(
    data: tuple[pd.DataFrame, dict[str, str]],
) -> None:
    again, texts = generate(SETTINGS)
    pd.testing.assert_frame_equal(data[0], again)
    assert texts == data[1]
    assert not generate(SETTINGS.model_copy(update={"seed": 4}))[0].equals(again)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_extreme_settings_fit(rate: float) -> None:
    settings = PlantedSpec(users=200, items=30, clusters=3, min_length=20, max_length=20, noise_rate=rate, seed=0)
    table, _ = generate(settings)
    assert not table.duplicated(["user", "item"]).any()
    assert table["noise"].mean() == pytest.approx(rate)
