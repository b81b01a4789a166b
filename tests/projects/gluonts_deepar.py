"""DeepAR of gluonts: its estimator makes module, stream of batches and Trainer by itself."""

import numpy as np
import pandas as pd
from gluonts.dataset.pandas import PandasDataset
from gluonts.torch import DeepAREstimator
from harness import check


def train(callbacks, options):
    days = pd.date_range("2026-01-01", periods=120, freq="D")
    data = PandasDataset(pd.DataFrame({"target": np.sin(np.arange(120) / 5)}, index=days), target="target")
    options |= {"max_epochs": 2, "callbacks": callbacks}
    sizes = {"num_layers": 1, "hidden_size": 8, "batch_size": 4, "num_batches_per_epoch": 15}
    DeepAREstimator(prediction_length=7, freq="D", trainer_kwargs=options, **sizes).train(data)


check(train, ["gluonts"], "model.rnn.weight_hh_l0", {"RunCheckpoint": {"monitor": "train_loss"}})
