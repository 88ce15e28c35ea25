"""The release's training step against the loops, and what each of its defects changes alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iadsr.config.options import known_backbones
from iadsr.methods import defects as released
from iadsr.methods.method import Batch, Encoded, TrainingBatch, Untrainable
from iadsr.sequences.samples import evaluation_samples, training_samples
from iadsr.training.feed import Feed, Step
from iadsr.training.recommender import Recommender, build_recommender
from tests.helpers import USERS, feed_of, inputs_of, small_cell, small_sequences
from tests.released_oracle import Person, released_losses
from tests.unit.methods.small import TEXT, make

SEQUENCES = small_sequences()
LONGEST = 6  # inputs that a network sees
BATCHES = {  # users: most histories are longer than the input, some much shorter, and two targets occur twice
    "long-last": [9, 5, 1, 7, 4, 12],
    "short-last": [12, 7, 4, 1, 9, 5],
}
HALF = -0.035  # a theta that some users of a batch exceed, and others do not
OPEN = -1.1  # one that everybody exceeds
OWN = {  # the defects of the release, less the one with which its Caser cannot train
    "gru4rec": {"R1", "R2", "R3", "R4", "R5", "R8", "R9"},
    "sasrec": {"R1", "R2", "R3", "R4", "R5", "R6", "R8", "R9"},
    "caser": {"R1", "R2", "R3", "R4", "R5", "R6", "R9"},
}
NETWORKS = ["ours", "released"]
for_every_network = pytest.mark.parametrize(
    ("backbone", "networks"),
    [(backbone, networks) for networks in NETWORKS for backbone in known_backbones("released")],
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The loops are made of small operations, on which threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(
    backbone: str, networks: str, options: dict[str, Any], users: str = "long-last", **settings: Any
) -> tuple[Recommender, Step, Tensor]:
    """A model in double precision with large weights, a batch, and last epoch's masks of it, with zeros."""
    settings = {"max_length": LONGEST, "dropout": 0.0, **settings}
    cell = small_cell(backbone, "iadsr", "last", {"alignment_rows": 100_000, **options}, networks=networks, **settings)
    model = build_recommender(cell, inputs_of(width=128 if networks == "released" else 8)).double()
    torch.manual_seed(1)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    samples = training_samples(SEQUENCES, "last", cell.settings.max_length, np.random.default_rng(0))
    chosen = np.array([int(np.flatnonzero(samples.user == user)[0]) for user in BATCHES[users]])
    step = feed_of(SEQUENCES, cell).step(samples, chosen, model.method.asks_for)
    draws = torch.rand(step.slots.shape, generator=torch.Generator().manual_seed(2))
    return model, step, torch.where(step.batch.valid & (draws < 0.3), 0.0, 1.0).double()


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def people_of(users: str) -> list[Person]:
    """Of n items the last two are held out, the one before them is the target, and n - 3 are inputs."""
    people = []
    for user in BATCHES[users]:
        whole = SEQUENCES.items[SEQUENCES.offsets[user] : SEQUENCES.offsets[user + 1]].tolist()
        people.append(Person(user, whole[:-3], whole[-3]))
    return people


def gradients(model: Recommender, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the sum of all terms, by parameter."""
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in model.named_parameters()
    }


@pytest.mark.parametrize("users", list(BATCHES))
@pytest.mark.parametrize("backbone", list(known_backbones("released")))
def test_losses_and_gradients_as_released_equal_those_of_the_loops(backbone: str, users: str) -> None:
    theirs = agree(backbone, OWN[backbone], users)
    people = people_of(users)
    assert sum(len(person.history) > LONGEST for person in people) > len(people) / 2
    assert len({person.target for person in people}) < len(people)
    own_text = agree(backbone, OWN[backbone] - {"R5"}, users)
    assert changed(theirs, own_text) == theirs.keys() - {"recommendation"}


@pytest.mark.parametrize("switched", ["R1", "R2", "R3", "R4", "R6", "R8", "R9"])
@pytest.mark.parametrize("backbone", list(known_backbones("released")))
def test_losses_and_gradients_with_one_defect_switched_equal_those_of_the_loops(backbone: str, switched: str) -> None:
    """A defect of that backbone's release is mended, another one (R6 of GRU4Rec, R8 of Caser) is put in."""
    agree(backbone, OWN[backbone] ^ {switched})


def agree(backbone: str, defects: set[str], users: str = "long-last") -> dict[str, float]:
    """Compare terms and gradients of one step with those of the loops, and return the terms."""
    options = {
        "variant": "released",
        "repaired": sorted((OWN[backbone] | ({"R7"} if backbone == "caser" else set())) - defects),
        "defects": sorted(defects - OWN[backbone]),
        "theta": HALF,
    }
    caser = backbone == "caser"
    settings = {"loss": "full" if caser else "in_batch", "bounded": not caser}
    model, step, keep = built(backbone, "released", options, users, rank_padding=True, stopping="training", **settings)
    ours, encoded = model(step, keep, stream())
    theirs = released_losses(model, people_of(users), defects, keep, stream(), HALF)
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        assert float(loss.detach()) == pytest.approx(float(theirs[name].detach()), abs=1e-9), name
    found, expected = gradients(model, ours), gradients(model, theirs)
    for name, gradient in found.items():
        assert float(gradient.abs().max()) > 1e-5, f"nothing is tested of {name}"
        assert torch.allclose(gradient, expected[name], atol=1e-9, rtol=1e-7), name
    assert 0 < encoded.keep[step.batch.valid].mean() < 1
    assert bool(encoded.gate.all()) == ("R3" in defects)
    return {name: float(loss.detach()) for name, loss in ours.items()}


def outcome(
    backbone: str,
    networks: str,
    defects: str = "",
    all_kept: bool = False,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[dict[str, float], Encoded, Step]:
    """Loss terms and decisions of one training step of the paper's method with the named defects put in."""
    given = {"defects": defects.split(), **(options or {})}
    model, step, keep = built(backbone, networks, given, **settings)
    with torch.no_grad():
        losses, encoded = model(step, torch.ones_like(keep) if all_kept else keep, stream())
    return {name: float(loss) for name, loss in losses.items()}, encoded, step


def changed(before: dict[str, float], after: dict[str, float]) -> set[str]:
    """The names of the terms that differ; a difference that no test could mean is an error."""
    assert before.keys() == after.keys()
    far = {name for name in before if abs(before[name] - after[name]) > 1e-5}
    assert all(before[name] == pytest.approx(after[name], abs=1e-9) for name in before.keys() - far)
    return far


def same(left: Tensor | None, right: Tensor | None) -> bool:
    assert left is not None
    assert right is not None
    return torch.equal(left, right)


@for_every_network
def test_r1_keeps_the_mask_from_the_states(backbone: str, networks: str) -> None:
    (kept, _, _), (paper, masked, _) = outcome(backbone, networks, all_kept=True), outcome(backbone, networks)
    released, unmasked, _ = outcome(backbone, networks, "R1")
    assert "recommendation" in changed(paper, released)
    assert not same(masked.states, unmasked.states)
    assert not changed(kept, released), "a mask that never arrives is a mask that keeps everything"
    assert not changed(kept, outcome(backbone, networks, "R1", all_kept=True)[0])


@for_every_network
def test_r2_changes_test_time_alone(backbone: str, networks: str) -> None:
    results = {}
    for defects in ("", "R2"):
        options = {"defects": defects.split(), "theta": OPEN}
        model, step, keep = built(backbone, networks, options)
        with torch.no_grad():
            losses, _ = model(step, keep, stream())
            samples = evaluation_samples(SEQUENCES, "test", LONGEST)
            left = LONGEST if networks == "released" else None
            batch, _ = Feed(SEQUENCES, torch.device("cpu"), left).gather(samples, np.arange(USERS))
            vectors, encoded = model.represent(batch, stream())
            raw = model.backbone(model.table(batch.items), batch.lengths, batch.users)
        results[defects] = ({name: float(loss) for name, loss in losses.items()}, vectors, encoded, batch, raw)
    (paper, denoised, judged, batch, raw), (released, plain, open_to_all, _, _) = results[""], results["R2"]
    assert not changed(paper, released)
    assert judged.keep is not None
    assert 0 < judged.keep[batch.valid].mean() < 1
    assert not torch.allclose(denoised, plain)
    assert same(open_to_all.states, raw)
    assert same(open_to_all.keep, torch.ones_like(judged.keep))
    assert same(open_to_all.score, judged.score)


@for_every_network
def test_r3_opens_the_gate_and_changes_the_reconstruction_alone(backbone: str, networks: str) -> None:
    half, shut, wide = ({"theta": theta} for theta in (HALF, 2.0, OPEN))
    paper, gated, _ = outcome(backbone, networks, options=half)
    released, ungated, _ = outcome(backbone, networks, "R3", options=half)
    assert gated.gate is not None
    assert ungated.gate is not None
    assert 0 < gated.gate.double().mean() < 1
    assert bool(ungated.gate.all())
    assert changed(paper, released) == {"reconstruction"}
    assert same(gated.states, ungated.states) and same(gated.score, ungated.score)
    assert gated.keep is not None
    assert ungated.keep is not None
    past = gated.gate
    assert same(gated.keep[past], ungated.keep[past]) and bool((gated.keep[~past] == 1).all())
    nobody, _, _ = outcome(backbone, networks, options=shut)
    assert nobody["reconstruction"] == 0
    assert not changed(released, outcome(backbone, networks, "R3", options=shut)[0]), "no theta matters any more"
    assert not changed(released, outcome(backbone, networks, options=wide)[0]), "a gate below every cosine is open"


@for_every_network
def test_r4_changes_the_sampled_mask_and_through_it_the_reconstruction_alone(backbone: str, networks: str) -> None:
    options = {"theta": OPEN}
    (paper, two, step), (released, one, _) = (
        outcome(backbone, networks, defects, options=options) for defects in ("", "R4")
    )
    assert changed(paper, released) == {"reconstruction"}
    assert same(two.states, one.states) and same(two.gate, one.gate) and same(two.score, one.score)
    assert two.keep is not None
    assert one.keep is not None
    both, either = two.keep[step.batch.valid].round(), one.keep[step.batch.valid].round()
    assert bool((either >= both).all()), "of one uniform number, a Gumbel sample is never below the logistic one"
    assert bool((either > both).any())


@for_every_network
def test_r5_changes_alignment_and_reconstruction_where_a_history_is_longer_than_the_input(
    backbone: str, networks: str
) -> None:
    options = {"theta": OPEN, "mask": "soft"}  # a hard mask need not change with its score
    users = "short-last"  # whoever has the longest history stands behind others
    longest = max(len(person.history) for person in people_of(users))
    for max_length in (LONGEST, longest - 1, longest):
        (paper, own, step), (released, others, _) = (
            outcome(backbone, networks, defects, options=options, users=users, max_length=max_length)
            for defects in ("", "R5")
        )
        cut = max_length < longest
        assert changed(paper, released) == ({"alignment", "reconstruction"} if cut else set())
        assert own.score is not None
        assert others.score is not None
        valid = step.batch.valid
        assert torch.allclose(own.score[valid], others.score[valid]) != cut
        assert same(own.states, others.states) and same(own.gate, others.gate)


def test_r5_takes_the_place_of_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, step, keep = built("gru4rec", "released", {"defects": ["R5"], "theta": OPEN})
    mended, _, _ = outcome("gru4rec", "released", options={"theta": OPEN})
    monkeypatch.setattr(released, "mispair", lambda batch: (batch.items.flatten()[batch.inside], batch.items))
    with torch.no_grad():
        losses, _ = model(step, keep, stream())
    assert not changed(mended, {name: float(loss) for name, loss in losses.items()})


@for_every_network
def test_r6_multiplies_the_reconstruction_by_the_number_of_rows(backbone: str, networks: str) -> None:
    for theta in (OPEN, HALF):
        (paper, gated, _), (released, _, _) = (
            outcome(backbone, networks, defects, options={"theta": theta}) for defects in ("", "R6")
        )
        assert gated.gate is not None
        past = int(gated.gate[:, 0].sum())
        assert (past == len(gated.gate)) == (theta == OPEN)
        assert changed(paper, released) == {"reconstruction"}
        assert released["reconstruction"] == pytest.approx(past * paper["reconstruction"], rel=1e-9)


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("given", [{"defects": ["R7"]}, {"variant": "released"}])
def test_r7_stops_caser_at_its_first_step(networks: str, given: dict[str, Any]) -> None:
    model, step, keep = built("caser", networks, given)
    with pytest.raises(Untrainable, match="no decoder"):
        model(step, keep, stream())


@for_every_network
@pytest.mark.parametrize("loss", ["full", "in_batch"])
@pytest.mark.parametrize("defect", ["R8", "R9"])
def test_r8_and_r9_change_the_recommendation_alone(backbone: str, networks: str, loss: str, defect: str) -> None:
    (paper, own, _), (released, others, _) = (
        outcome(backbone, networks, defects, loss=loss) for defects in ("", defect)
    )
    # padding is nobody's target, so among a batch's targets it makes no difference
    assert changed(paper, released) == (set() if (defect, loss) == ("R9", "in_batch") else {"recommendation"})
    assert same(own.states, others.states) and same(own.keep, others.keep) and same(own.score, others.score)


def told_of(batch: Batch, target: torch.Tensor) -> TrainingBatch:
    """The batch in training, with a text (B,) after each row's last input."""
    following = torch.zeros_like(batch.items).scatter(1, (batch.lengths - 1).unsqueeze(1), target.unsqueeze(1))
    return TrainingBatch(**vars(batch), following_texts=following)


@pytest.mark.parametrize("interest_text", ["items", "prefixes"])
def test_r11_puts_the_target_into_the_long_text_of_training_alone(interest_text: str) -> None:
    method, table, backbone, batch = make(interest_text=interest_text, defects=["R11"])
    target = torch.tensor([5, 7, 3])
    told = method.interests(
        backbone, table(batch.items), backbone(table(batch.items), None, None), told_of(batch, target)
    )
    long_map = method.project.weight.chunk(2)[1]
    assert told.semantic_long is not None
    for row, length in enumerate((4, 2, 3)):
        texts = TEXT[[*batch.items[row, :length].tolist(), int(target[row])]]
        expected = texts.mean(0) if interest_text == "items" else texts[-1]
        torch.testing.assert_close(told.semantic_long[row, 0], long_map @ expected)
    fair, *_ = make(interest_text=interest_text)
    assert method.asks_for == {"following"} and not fair.asks_for
    scored, plain = (m.denoise(table, backbone, batch, torch.Generator()) for m in (method, fair))
    assert torch.equal(scored.states, plain.states), "no target is told when scoring"


def test_long_interests_are_pooled_with_the_target_of_r11_by_maximum_too() -> None:
    method, table, backbone, batch = make(long="max", defects=["R11"])
    target = torch.tensor([5, 7, 3])
    told = method.interests(
        backbone, table(batch.items), backbone(table(batch.items), None, None), told_of(batch, target)
    )
    long_map = method.project.weight.chunk(2)[1]
    texts = TEXT[[*batch.items[1, :2].tolist(), 7]] @ long_map.T
    torch.testing.assert_close(told.semantic_long[1, 0], texts.amax(0))  # type: ignore[index]
