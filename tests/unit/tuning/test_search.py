"""A search: equal trials, resumable to the same table, blind to test items."""

import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from iadsr.config.cell import Cell
from iadsr.config.encoders import embeddings_name
from iadsr.config.parse import parse
from iadsr.config.run import RunConfig
from iadsr.core import columns as c
from iadsr.core.errors import ConfigError, DataError
from iadsr.embeddings.store import embed
from iadsr.formats.tables import write_parquet
from iadsr.sequences.split import Sequences, hide_test, save_sequences
from iadsr.training import inputs
from iadsr.training.feed import Feed
from iadsr.tuning import search
from iadsr.tuning.adopt import adopt_searches, merge_trials
from iadsr.tuning.search import run_search
from iadsr.tuning.trials import JOURNAL, TRIALS, choose_values, read_trials
from tests.helpers import N_ITEMS, feed_of, refusal, small_sequences

FOLDER = Path(__file__).resolve().parents[3] / "workflow" / "config"
TRIALS_RUN = 7  # two beyond those that are never pruned
Search = Callable[..., pd.DataFrame]


def run_of(root: Path, **changes: Any) -> RunConfig:
    values = {
        "name": "mine", "description": "d", "results": str(root), "datasets": ["planted"], "device": "cpu",
        "encoder": {"kind": "tfidf"}, "protocols": ["paper"], "backbones": ["gru4rec"], "methods": ["none"],
        "seeds": [0], "max_epochs": 4,
    }  # fmt: skip
    return parse(RunConfig, values | changes, "mine")


def prepared(root: Path, sequences: Sequences) -> tuple[RunConfig, Cell]:
    save_sequences(root / "sequences/planted/sequences.npz", sequences)
    run = run_of(root)
    return run, run.searches(FOLDER)[0]


def searched(root: Path, trials: int = TRIALS_RUN, sequences: Sequences | None = None) -> pd.DataFrame:
    """The table of a search, without its seconds."""
    run, cell = prepared(root, small_sequences() if sequences is None else sequences)
    run_search(run, FOLDER, cell, trials)
    return pd.read_csv(root / "tuning" / cell.folder / TRIALS).drop(columns="seconds")


def test_the_first_trial_has_the_protocol_s_own_values_and_all_count(tmp_path: Path) -> None:
    table = searched(tmp_path)
    _, cell = prepared(tmp_path, small_sequences())
    own = {name: getattr(cell.settings, name) for name in ("learning_rate", "dropout", "weight_decay")}
    assert table.loc[0, list(own)].to_dict() == own
    assert table["trial"].tolist() == list(range(TRIALS_RUN))
    assert set(table["state"]) <= {"complete", "pruned"}
    assert len(table[list(own)].drop_duplicates()) == TRIALS_RUN, "every trial tries something else"
    assert table["learning_rate"].iloc[1:].between(5e-4, 4e-2).all()


def test_a_search_that_was_killed_goes_on_to_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(tmp_path / "whole")
    plain, calls = search.train_once, []

    def killed(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(search, "train_once", killed)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(f"tuning/**/{TRIALS}"))
    resumed = searched(tmp_path / "killed")
    assert len(calls) == TRIALS_RUN + 1, "three finished trials are not repeated"
    pd.testing.assert_frame_equal(resumed, whole)


def test_a_method_starts_from_the_settings_chosen_for_its_backbone(tmp_path: Path) -> None:
    save_sequences(tmp_path / "sequences/planted/sequences.npz", small_sequences())
    names = [f"item {number}" for number in range(N_ITEMS)]
    items = pd.DataFrame({c.ITEM: [str(number) for number in range(N_ITEMS)], c.TEXT: names})
    write_parquet(tmp_path / "data/planted/items.parquet", items)
    run = run_of(tmp_path, methods=["none", "aux_only"], encoder={"kind": "random"})
    alone, method = run.searches(FOLDER)
    spec = run.encoder
    embed(names, spec, tmp_path / f"embeddings/planted/{embeddings_name(spec.options())}.safetensors")
    with pytest.raises(DataError, match="snakemake tuning_all"):
        run_search(run, FOLDER, method, 2)
    chosen = choose_values(run_search(run, FOLDER, alone, 4).astype(str))["gru4rec/none"]
    table = run_search(run, FOLDER, method, 3)
    first, second, third = (table.loc[number, list(chosen)].to_dict() for number in range(3))
    assert first == {name: getattr(method.settings, name) for name in chosen}
    assert second == chosen != third
    assert table["alignment"][0] == table["alignment"][1] == method.method_options["alignment"] != table["alignment"][2]
    assert "temperature" not in table, "without a mask it would change nothing"


def other_tests() -> Sequences:
    """The data with another test item for every user."""
    sequences = small_sequences()
    items, places = sequences.items.copy(), sequences.target_positions("test")
    items[places] = items[places] % N_ITEMS + 1
    return replace(sequences, items=items)


@pytest.mark.parametrize(("trials", "unpruned"), [(4, 2), (5, 3), (20, 5)])
def test_the_second_half_of_a_short_search_may_be_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int, unpruned: int
) -> None:
    """Each trial is worse than the one before: all that may be pruned are."""
    calls = []

    def worse(_: Any, __: Any, observe: Callable[[int, float], None]) -> tuple[str, float, int]:
        calls.append(1)
        for epoch in range(1, 4):
            observe(epoch, 1 / len(calls))
        return search.COMPLETE, 1 / len(calls), 3

    monkeypatch.setattr(search, "train_once", worse)
    states = searched(tmp_path, trials)["state"].tolist()
    assert states == [search.COMPLETE] * unpruned + [search.PRUNED] * (trials - unpruned)


def test_a_search_cannot_see_a_test_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test item replaced: not one figure of a trial changes, even if training peeps where they would stand."""
    pd.testing.assert_frame_equal(searched(tmp_path / "a"), searched(tmp_path / "b", sequences=other_tests()))
    plain = search.train

    def peeping(model: Any, feed: Feed, *given: Any, **named: Any) -> Any:
        """Trains on the test item in place of the last training item."""
        sequences, items = feed.sequences, feed.sequences.items.copy()
        items[sequences.target_positions("validation") - 1] = items[sequences.target_positions("test")]
        return plain(model, feed_of(replace(sequences, items=items)), *given, **named)

    monkeypatch.setattr(search, "train", peeping)
    pd.testing.assert_frame_equal(searched(tmp_path / "c", 2), searched(tmp_path / "d", 2, other_tests()))
    monkeypatch.setattr(inputs, "hide_test", lambda sequences: sequences)
    seen, otherwise = searched(tmp_path / "e", 2), searched(tmp_path / "f", 2, other_tests())
    assert not seen["validation"].equals(otherwise["validation"]), "the check above can fail"


def test_hidden_test_items_are_copies_of_what_everybody_may_know() -> None:
    sequences = small_sequences()
    hidden = hide_test(sequences)
    test, validation = (sequences.target_positions(stage) for stage in ("test", "validation"))
    assert (hidden.items[test] == sequences.items[validation - 1]).all()
    others = np.setdiff1d(np.arange(len(sequences.items)), test)
    assert (hidden.items[others] == sequences.items[others]).all()
    assert (sequences.items[test] != hidden.items[test]).any(), "the given sequences stay as they are"


def test_other_settings_or_data_begin_a_search_of_their_own(tmp_path: Path) -> None:
    first = searched(tmp_path, 2)
    again = searched(
        tmp_path, 2, replace(small_sequences(), users=np.array([f"v{n}" for n in range(len(small_sequences().users))]))
    )
    pd.testing.assert_frame_equal(first, again)  # names of users change no figure, but it was trained anew
    run = run_of(tmp_path, max_epochs=2)
    run_search(run, FOLDER, run.searches(FOLDER)[0], 1)
    assert len(pd.read_csv(next(tmp_path.glob(f"tuning/**/{TRIALS}")))) == 1


def test_a_line_of_the_journal_that_a_kill_cut_off_is_made_again(tmp_path: Path) -> None:
    whole = searched(tmp_path / "whole", 3)
    searched(tmp_path / "cut", 2)
    journal = next((tmp_path / "cut").glob(f"tuning/**/{JOURNAL}"))
    journal.write_bytes(journal.read_bytes()[:-30])
    pd.testing.assert_frame_equal(searched(tmp_path / "cut", 3), whole)


def test_a_kill_between_two_steps_of_a_trial_s_start_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = searched(tmp_path / "whole", 3)
    with monkeypatch.context() as patch:
        patch.setattr("optuna.Study.ask", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "killed", 3)
    pd.testing.assert_frame_equal(searched(tmp_path / "killed", 3), whole)


def test_a_damaged_journal_is_one_error(tmp_path: Path) -> None:
    searched(tmp_path, 1)
    journal = next(tmp_path.glob(f"tuning/**/{JOURNAL}"))
    journal.write_text(journal.read_text()[:40] + "\n" + journal.read_text())
    with pytest.raises(DataError, match="delete it to begin the search anew"):
        searched(tmp_path, 2)


def trials(cell: str, values: list[float], state: str = "complete") -> pd.DataFrame:
    rows = [
        {"cell": cell, "encoder": "", "trial": str(number), "state": state, "validation": str(value), "best_epoch": "3",
         "seconds": "1.0", "learning_rate": f"{(number + 1) / 100}"}
        for number, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_unequal_numbers_of_trials_are_refused_unless_cut() -> None:
    parts = [trials("gru4rec/none", [0.1, 0.3, 0.2]), trials("gru4rec/iadsr", [0.2, 0.1])]
    with pytest.raises(ConfigError, match="same number of trials"):
        merge_trials([], parts, None, "mine")
    cut = merge_trials([], parts, 2, "mine")
    assert cut["cell"].value_counts().tolist() == [2, 2]
    assert choose_values(cut) == {"gru4rec/none": {"learning_rate": 0.02}, "gru4rec/iadsr": {"learning_rate": 0.01}}
    with pytest.raises(ConfigError, match="same number of trials"):
        merge_trials([], parts, 3, "mine")


def test_a_new_search_replaces_its_own_rows_alone_and_a_pruned_trial_is_never_chosen(tmp_path: Path) -> None:
    old = merge_trials([], [trials("gru4rec/none", [0.1, 0.3]), trials("gru4rec/iadsr", [0.2, 0.1])], None, "mine")
    old.to_csv(tmp_path / TRIALS, index=False)
    pruned = pd.concat([trials("gru4rec/iadsr", [0.5]), trials("gru4rec/iadsr", [0.9, 0.8], "pruned").iloc[1:]])
    table = merge_trials([read_trials(tmp_path / TRIALS)], [pruned], None, "mine")
    assert choose_values(table) == {"gru4rec/none": {"learning_rate": 0.02}, "gru4rec/iadsr": {"learning_rate": 0.01}}
    assert table.loc[table["cell"] == "gru4rec/iadsr", "validation"].tolist() == ["0.5", "0.8"]


def test_adopted_values_are_those_that_the_grid_uses(tmp_path: Path) -> None:
    folder, root = tmp_path / "config", tmp_path / "results"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("tuned"))
    run = run_of(root, methods=["none", "aux_only"], encoder={"kind": "random"})
    with pytest.raises(ConfigError, match="there is no search to adopt"):
        adopt_searches(run, folder)
    for cell, values in zip(run.searches(folder), ([0.1, 0.3], [0.2, 0.1]), strict=True):
        path = root / "tuning" / cell.folder / TRIALS
        path.parent.mkdir(parents=True)
        trials(f"{cell.backbone}/{cell.method}", values).to_csv(path, index=False)
    assert adopt_searches(run, folder) == [folder / "tuned/planted/paper.yaml"]
    used = {cell.method: (cell.settings.learning_rate, cell.tuned) for cell in run.cells(folder)}
    assert used == {"none": (0.02, "none"), "aux_only": (0.01, "aux_only")}
    first = {path.name: path.read_bytes() for path in (folder / "tuned/planted").iterdir()}
    adopt_searches(run, folder)
    assert {path.name: path.read_bytes() for path in (folder / "tuned/planted").iterdir()} == first


def test_a_killed_process_s_lock_of_the_journal_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna would wait 30 seconds for it, and warn."""
    _, cell = prepared(tmp_path, small_sequences())
    folder = tmp_path / "tuning" / cell.folder
    folder.mkdir(parents=True)
    for name in (f"{JOURNAL}.lock", f"{JOURNAL}.lock1234.rename"):
        (folder / name).symlink_to(JOURNAL)
    slept = Mock(side_effect=AssertionError("it waits"))
    monkeypatch.setattr("optuna.storages.journal._file.time.sleep", slept)
    searched(tmp_path, 1)
    assert sorted(path.name for path in folder.iterdir()) == [JOURNAL, TRIALS]


def test_a_full_disk_names_the_journal_and_loses_no_trial(tmp_path: Path) -> None:
    """Its last line is cut where the disk ended."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4500, hard))
    try:
        refused = refusal(OSError, lambda: searched(tmp_path / "full", 5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (journal,) = (tmp_path / "full").rglob(JOURNAL)
    assert refused is not None and refused.filename == str(journal)
    assert journal.stat().st_size == 4500 and not journal.read_bytes().endswith(b"\n")
    pd.testing.assert_frame_equal(searched(tmp_path / "full", 5), searched(tmp_path / "whole", 5))
