"""scripts/bench/executions.py trains what it says. The times depend on the machine and are not tested."""

import pytest

pytestmark = [
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Starting from v1.9.0"),
]


def test_it_measures_a_step_with_and_without_executions(script, capsys):
    script("executions").main(["linear", "byol"], pairs=1, seconds=0.05, accumulate=2)
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["linear layer, SGD", "BYOL on 28 x 28"]
    assert all(0 < float(value.removesuffix(" ms")) < 1000 for row in rows for value in row[1:])
