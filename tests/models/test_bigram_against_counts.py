"""The bigram by gradient descent comes to the bigram by counting."""

import pytest

from charlm.cli.main import main
from charlm.data.splits import load_splits
from charlm.nets.counts import CountBigram
from charlm.nets.loss import evaluate
from charlm.runs.load_checkpoint import load_checkpoint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", ["bundled", "course_list"])
def test_the_shipped_bigram_converges_to_the_loss_of_counting(names, request, tmp_path, monkeypatch):
    """Without penalty and without smoothing: less than 0.002 nats apart on the training split, 0.01 on the others."""
    path = None if names == "bundled" else str(request.getfixturevalue(names))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    data = ["--data.path", path] if path else []
    main(["fit", "--name=run", "--config", "bigram", *data, "--trainer.enable_progress_bar=false"])
    net = load_checkpoint("lightning_logs/001-run/checkpoints/last.ckpt").net
    splits = load_splits(path, block_size=1)
    plain, smoothed = (CountBigram.from_contexts(splits.train, 27, k) for k in (0, 1))
    assert evaluate(net, [splits.train.tensors()]).loss == pytest.approx(plain.nll(splits.train), abs=0.002)
    for contexts in (splits.val, splits.test):
        assert evaluate(net, [contexts.tensors()]).loss == pytest.approx(smoothed.nll(contexts), abs=0.01)
