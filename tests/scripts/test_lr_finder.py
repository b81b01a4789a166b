"""scripts/bench/lr_finder.py: its arithmetic on given curves, and real tasks with few steps."""

import math

import pytest


@pytest.fixture(scope="module")
def measures(script):
    return script("lr_measure")


@pytest.fixture(scope="module")
def bench(script, measures):
    return script("lr_finder")


@pytest.fixture
def measured(measures):
    """Trained from 0.01 to 1, best at 0.1; a quarter decade above that is better still."""
    lrs = [10 ** (half / 2) for half in (-4, -3, -2, -1.5, -1, 0)]
    return measures.Measured(3.0, lrs, [2.5, 2.3, 2.1, 2.05, 2.2, 2.6], [])


@pytest.mark.parametrize(
    ("lr", "regret"),
    [
        (0.1, 0.0),
        (10**-0.75, 0.0),  # better than the best half decade
        (10**-0.5, 0.1),
        (1.0, 0.5),
        (2.0, 0.9),  # above all that was trained: untrained
        (10**-4, 0.65),  # half way from the lowest to 1e-6, where nothing is learnt
    ],
)
def test_the_regret_is_what_the_rate_costs_beyond_the_best_half_decade(lr, regret, measured):
    assert measured.regret(lr) == pytest.approx(regret, abs=1e-9)


def test_the_grid_goes_up_and_down_until_it_is_clearly_worse_and_is_finer_at_its_best(measures):
    asked = []

    def loss(half):
        asked.append(half)
        return 2 + 0.1 * (half + 2) ** 2

    found = measures.search(loss, start=-3)
    assert min(found, key=found.get) == -2
    assert sorted(found) == [-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0]
    assert len(asked) == len(set(asked))


def test_a_rule_that_gives_no_rate_is_charged_the_untrained_net(bench, measures, measured):
    def refuses(lrs, losses):
        raise ValueError("too few points")

    flat = measures.Measured(measured.untrained, measured.lrs, measured.losses, [[3.0] * 300])
    assert bench.regrets_of(refuses, flat) == [pytest.approx(0.9)]
    assert bench.until_divergence([3.0] * 30 + [math.nan, 1.0]) == pytest.approx([3.0] * 30 + [math.nan], nan_ok=True)


@pytest.mark.slow
def test_real_tasks_are_measured_once_and_kept(bench, measures, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measures, "STEPS", 20)
    monkeypatch.setattr(measures, "SWEEPS", 2)
    monkeypatch.setattr(measures, "SEEDS", (0,))
    tasks = [next(task for task in bench.TASKS if task.part == part) for part in ("choose", "report")]
    monkeypatch.setattr(bench, "TASKS", tasks)
    cache = tmp_path / "kept.json"
    assert bench.main(cache=str(cache)) == 0
    first = capsys.readouterr()
    assert [line for line in first.err.splitlines() if line] == [
        f"{i} of 2: {task.name}" for i, task in enumerate(tasks, 1)
    ]
    assert bench.main(cache=str(cache)) == 0
    assert capsys.readouterr() == (first.out, "")
