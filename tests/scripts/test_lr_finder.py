"""scripts/bench/lr_finder.py: runs that are trained at once, the cost of a rate, and real tasks with few steps."""

import json

import pytest
import torch


@pytest.fixture(scope="module")
def modules(script):
    return {name: script(name) for name in ("lr_nets", "lr_tasks", "lr_truth", "lr_methods", "lr_finder")}


@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "AdamW"])
def test_runs_that_are_trained_at_once_are_those_that_torch_trains(optimizer, modules):
    truth, methods = modules["lr_truth"], modules["lr_methods"]
    problem, steps = modules["lr_tasks"].PROBLEMS["teacher"], 20
    others = [truth.Run(other, 0.3, "constant", 30) for other in truth.OPTIMIZERS]
    run = truth.Run(optimizer, 0.01, "one cycle", steps)
    found = dict(truth.trained(problem, 0, [*others, run]))[run]
    module = methods.Module(problem, optimizer, "one cycle", steps)
    module.lr = 0.01
    configured = module.configure_optimizers()
    for batch in methods.loader(problem, steps):
        configured["optimizer"].zero_grad()
        module.training_step(batch).backward()
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
    x, y = problem.data()[2:]
    with torch.no_grad():
        assert found == pytest.approx(problem.loss(module.net(x), y).item(), rel=1e-4)


@pytest.mark.parametrize(
    ("lr", "share"),
    [
        (0.1, 0.0),
        (10**-0.5, 0.05),  # half way between the neighbours
        (1.0, 0.1),
        (1.1, 1.0),  # above all that was trained
        (10**-3, 0.75),  # half way to a hundredth of the lowest, where nothing is learned
        (0.0, 1.0),  # no suggestion
    ],
)
def test_a_rate_costs_its_share_of_the_loss_that_training_removes(lr, share, modules, monkeypatch, tmp_path):
    truth = modules["lr_truth"]
    monkeypatch.setattr(truth, "untrained", lambda problem: 3.0)
    target = {"problem": "bigram", "seed": 0, "optimizer": "SGD", "schedule": "constant", "steps": 500}
    rows = [json.dumps(target | {"lr": rate, "loss": loss}) for rate, loss in ((0.01, 2.5), (0.1, 2.0), (1.0, 2.1))]
    (tmp_path / "losses.jsonl").write_text("\n".join(rows))
    losses = truth.Truth(tmp_path / "losses.jsonl")
    assert losses.share("bigram", truth.Run("SGD", lr, "constant", 500)) == pytest.approx(share)


@pytest.mark.slow
def test_real_tasks_are_measured_once_and_kept(modules, monkeypatch, tmp_path, capsys):
    truth, bench = modules["lr_truth"], modules["lr_finder"]
    for module in (truth, bench):
        monkeypatch.setattr(module, "STEPS", (5, 10))
        monkeypatch.setattr(module, "OPTIMIZERS", ("SGD",))
    monkeypatch.setitem(truth.COARSE, "SGD", range(-4, 9, 4))
    monkeypatch.setattr(bench, "DESIGN", {"tables": {"bigram": bench.PROBLEMS["bigram"]}})
    assert bench.main(part="design", results=str(tmp_path)) == 0
    first = capsys.readouterr()
    assert "bigram" in first.err
    assert all(word in first.out for word in ("LRFinder", "Lightning's", "one cycle 10", "tables"))
    kept = (tmp_path / "losses.jsonl").read_text(), (tmp_path / "suggestions.jsonl").read_text()
    assert bench.main(part="design", results=str(tmp_path)) == 0
    assert capsys.readouterr().out == first.out
    assert ((tmp_path / "losses.jsonl").read_text(), (tmp_path / "suggestions.jsonl").read_text()) == kept
