"""N-BEATS of darts, which imports `pytorch_lightning` and makes the Trainer by itself."""

import numpy as np
from darts import TimeSeries
from darts.models import NBEATSModel

from harness import check  # after the library that decides for `pytorch_lightning`  # isort: skip


def train(callbacks, options):
    series = TimeSeries.from_values(np.sin(np.arange(220) / 5).astype(np.float32))
    sizes = {"input_chunk_length": 14, "output_chunk_length": 7, "num_stacks": 2, "num_blocks": 1, "layer_widths": 8}
    options |= {"enable_checkpointing": True, "callbacks": callbacks}  # N-BEATS has no checkpoints of its own
    model = NBEATSModel(**sizes, n_epochs=6, random_state=0, pl_trainer_kwargs=options)
    model.fit(series[:180], val_series=series[180:])


check(train, ["darts"], "stacks.0.blocks.0.fc_stack.0.weight", {"RunCheckpoint": {"monitor": "val_loss"}})
