"""NHITS of neuralforecast, which imports `pytorch_lightning` and makes the Trainer by itself."""

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS

from harness import check  # after the library that decides for `pytorch_lightning`  # isort: skip


def train(callbacks, options):
    days = pd.date_range("2026-01-01", periods=200, freq="D")
    data = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.sin(np.arange(200) / 5)})
    sizes = {"h": 7, "input_size": 14, "mlp_units": 3 * [[8, 8]], "windows_batch_size": 16}
    options |= {"enable_checkpointing": True}  # NHITS has none of its own
    model = NHITS(**sizes, max_steps=40, val_check_steps=20, callbacks=callbacks, **options)
    NeuralForecast([model], freq="D").fit(data, val_size=14)


check(train, ["neuralforecast"], "blocks.0.layers.0.weight", {"RunCheckpoint": {"monitor": "ptl/val_loss"}})
