import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentserve.training.recipe.config import PENALISED, UNPENALISED, Config
from latentserve.training.supervising import Changes, Supervisor, replay
from latentserve.training.supervising.supervisor import BUDGET, COOL_DOWN, WINDOW
from latentserve.training.supervising.windows import WINDOWS
from tests.training.supervising.lines import HEALTHY, line, run


def long(config: Config, **other: object) -> Config:
    """A run whose windows are lines."""
    return config.model_copy(update={"images": 100 * WINDOWS, "supervise": "act", **other})


def saw(config: Config, lines: list[dict[str, Any]]) -> Supervisor:
    supervisor = Supervisor(config, "image")
    for one in lines:
        supervisor.see(one)
    return supervisor


OVERFITS = {"held_out_gap": 0.9, "frechet_floor": 0.04, "real_frechet": 0.05}  # and samples are far from the reals


def test_an_action_says_why_and_what(tiny: Config) -> None:
    actions = replay(long(tiny), "image", run(8, 1, critic_loss=150.0))
    assert [action.action for action in actions] == ["rollback", "lr", "critic_lr", "clip"]
    assert {(action.fault, action.signal, action.threshold) for action in actions} == {
        ("divergence", "critic_loss", 100.0)
    }
    assert actions[0].window[-1] == 150.0
    assert len(actions[0].window) == WINDOW
    assert (actions[0].before, actions[0].after) == (900, 700)  # the first of the equally good ones after the warm-up
    assert (actions[1].before, actions[1].after) == (1.0, 0.1)
    assert (actions[3].before, actions[3].after) == (None, 0.8)  # twice the best line's largest norm
    assert all(action.applied for action in actions)


def test_changes_add_up_and_become_a_configuration(tiny: Config) -> None:
    changes = saw(long(tiny), run(8, 1, critic_loss=150.0)).changes
    assert changes == Changes(lr=0.1, critic_lr=0.1, clip=0.8, stream=1, count=1)
    config = changes.applied_to(tiny)
    assert (config.lr.start, config.critic_optimisation.lr.end) == pytest.approx((1e-4, 1e-5))
    assert config.clip == 0.8
    assert changes.seed(5) != 5
    assert Changes().applied_to(tiny) is tiny
    assert Changes().seed(5) == 5
    assert Changes.from_json(json.loads(json.dumps(Changes(augment=("flip",), lr=0.3).to_json()))) == Changes(
        augment=("flip",), lr=0.3
    )


def test_after_a_change_windows_count_for_nothing_until_statistics_had_time(tiny: Config) -> None:
    lines = run(8, 12, **OVERFITS)
    images = sorted({action.images for action in replay(long(tiny), "image", lines)})
    assert images[0] == 1200
    assert images[1] == 1200 + 100 * (COOL_DOWN + 4)


def test_between_the_thresholds_nothing_is_forgotten(tiny: Config) -> None:
    config = long(tiny)
    gaps = [0.1] * 7 + [0.6, 0.6, 0.4, 0.6, 0.6]  # 0.4 is neither bad nor clear
    assert replay(config, "image", [line(at, **OVERFITS | {"held_out_gap": gap}) for at, gap in enumerate(gaps)])
    gaps[9] = 0.2
    assert not replay(config, "image", [line(at, **OVERFITS | {"held_out_gap": gap}) for at, gap in enumerate(gaps)])


def test_the_budget_ends_in_the_best_state(tiny: Config) -> None:
    lines = []
    for _ in range(20):  # one failure after another, each of which could be treated alone
        for fields in ({"critic_loss": 150.0}, OVERFITS, {"frechet": 3.0}, {"nonfinite_steps": 30}):
            lines += [line(len(lines) + at, **fields) for at in range(8)]
    actions = replay(long(tiny), "image", run(8, 0) + [one | {"images": one["images"] + 800} for one in lines])
    assert len({action.images for action in actions if action.applied and action.action != "skip"}) <= BUDGET
    assert [action.action for action in actions if action.applied][-2:] == ["rollback", "stop"]


def test_what_is_untrained_is_never_the_best(tiny: Config) -> None:
    """However good it looks beside what follows."""
    config = long(tiny)
    worse = [line(at, frechet=0.01 if at < 3 else 2.0) for at in range(30)]
    supervisor = saw(config, worse)
    assert supervisor.best_images > 600
    assert not supervisor.changes.count
    early = saw(config, run(1, 5, critic_loss=150.0))
    assert early.best_images == 0
    assert early.changes.count
    assert not early.changes.stopped


def test_detectors_forget_what_was_gone_back_from(tiny: Config) -> None:
    """The same failure again is given as long as the first."""
    lines = run(22, 0) + [line(22 + at, frechet=3.0) for at in range(3)] + [line(25 + at) for at in range(6)]
    lines += [line(31 + at, frechet=3.0) for at in range(2)] + [line(33 + at) for at in range(6)]
    actions = replay(long(tiny), "image", lines)
    assert {action.images for action in actions} == {2500}


def test_what_cannot_be_mended_is_told_once(tiny: Config) -> None:
    config = long(tiny, loss="wasserstein", clip_weights=0.01, gamma=UNPENALISED)
    actions = replay(config, "array", run(8, 60, generator_gradient_norm=0.0))
    assert [action.action for action in actions] == ["critic", "critic_lr", "critic_lr", "tell"]


def test_a_critic_that_was_free_is_penalised(tiny: Config) -> None:
    config = long(tiny, loss="hinge", gamma=UNPENALISED)
    supervisor = saw(config, run(0, 11, critic_loss=0.01, real_accuracy=1.0, fake_accuracy=1.0))
    changed = supervisor.changes.applied_to(config)
    assert changed.gamma == PENALISED
    assert changed.loss == "hinge"
    again = saw(config, run(0, 40, critic_loss=0.01, real_accuracy=1.0, fake_accuracy=1.0))
    assert again.changes.applied_to(config).gamma.start == 2 * PENALISED.start
    older = Changes.from_json({"lr": 0.5, "gamma": 1.0})  # of a checkpoint from before there was such a change
    assert older.applied_to(config).gamma == UNPENALISED


def test_a_critic_that_may_not_be_penalised_is_not(tiny: Config) -> None:
    for other in ({"loss": "wasserstein-gp", "gradient_penalty": 10.0}, {"loss": "hinge", "compile": True}):
        config = long(tiny, gamma=UNPENALISED, **other)
        supervisor = saw(config, run(0, 8, generator_gradient_norm=0.0))
        assert supervisor.changes.count
        supervisor.changes.applied_to(config)  # a configuration that contradicts itself cannot be made


def test_observing_says_the_same_and_changes_nothing(tiny: Config) -> None:
    lines = run(8, 3, critic_loss=150.0) + run(8, 20, **OVERFITS)
    acts, observes = (replay(long(tiny, supervise=mode), "image", lines) for mode in ("act", "observe"))
    assert acts == [type(one)(**vars(one) | {"applied": one.action != "tell"}) for one in observes]
    assert not any(action.applied for action in observes)


def test_two_failures_at_once_are_treated_one_after_the_other(tiny: Config) -> None:
    lines = run(18, 3, **OVERFITS | {"frechet": 3.0}) + [line(21 + at, **OVERFITS) for at in range(9)]
    actions = replay(long(tiny), "image", lines)
    faults = list(dict.fromkeys((action.images, action.fault) for action in actions if action.action != "tell"))
    assert [fault for _, fault in faults[:2]] == ["worse quality", "overfitting critic"]
    assert faults[1][0] - faults[0][0] > 100 * COOL_DOWN


def test_without_distances_a_run_goes_back_to_the_last_line_that_was_not_bad(tiny: Config) -> None:
    bad = line(8, frechet=None, critic_loss=150.0)
    supervisor = saw(long(tiny), [*(line(at, frechet=None) for at in range(8)), bad])
    assert supervisor.best_images == 800
    with_one = saw(long(tiny), [*(line(at) for at in range(6)), line(6, frechet=0.3), line(7, frechet=None)])
    assert with_one.best_images == 700


def test_another_loss_brings_other_thresholds(tiny: Config) -> None:
    config = long(tiny, loss="minimax")
    supervisor = saw(config, run(0, 2, fake_accuracy=1.0, generator_loss=-1e-4))
    assert supervisor.changes.loss == "non-saturating"
    assert [supervisor.see(line(2 + at, fake_accuracy=1.0, generator_loss=5.0)) for at in range(9)] == [[]] * 9


fields = st.dictionaries(
    st.sampled_from(sorted(HEALTHY)),
    st.one_of(st.none(), st.floats(-1e3, 1e3).map(lambda value: float(f"{value:.6g}")), st.just(0), st.just(25)),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(fields, st.integers(1, 9)), max_size=8), st.sampled_from(["act", "observe"]), st.data())
def test_a_journal_replays_from_the_lines_that_were_written(
    tiny: Config, episodes: list[tuple[dict[str, Any], int]], mode: str, data: st.DataObject
) -> None:
    """Whatever the lines, and wherever the run was interrupted, the journal and the changes are the same."""
    config = long(tiny, supervise=mode)
    lines = [line(0)]
    for other, count in episodes:
        lines += [line(len(lines) + at, **other) for at in range(count)]
    written = [json.loads(json.dumps(one)) for one in lines]
    whole = Supervisor(config, "image")
    journal = [action for one in lines for action in whole.see(one)]
    assert replay(config, "image", written) == journal

    stop = data.draw(st.integers(0, len(lines)))
    before = saw(config, written[:stop])
    after = saw(config, written[:stop])  # of another sitting
    after.changes = before.changes
    tail = [action for one in written[stop:] for action in after.see(one)]
    assert journal[len(journal) - len(tail) :] == tail
    assert after.changes == whole.changes
    assert len({action.images for action in journal if action.action not in ("skip", "tell")}) <= BUDGET
