"""Lightning by either of its names, `lightning.pytorch` or `pytorch_lightning`: the one that was imported first.

The two packages hold the same code as different classes, so a callback belongs to one of them. This file decides to
which, when the first callback is imported: to `lightning.pytorch` if none of them has been imported before. A library
such as neuralforecast may import both. All files of the callbacks import Lightning's names from here.
"""

import sys
from typing import TYPE_CHECKING

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
PACKAGE = next((name for name in list(sys.modules) if name in PACKAGES), PACKAGES[0])

if TYPE_CHECKING or PACKAGE == "lightning.pytorch":
    from lightning.fabric.plugins import TorchCheckpointIO as TorchCheckpointIO
    from lightning.fabric.utilities.cloud_io import get_filesystem as get_filesystem
    from lightning.fabric.utilities.seed import pl_worker_init_function as pl_worker_init_function
    from lightning.pytorch import Callback as Callback
    from lightning.pytorch import LightningModule as LightningModule
    from lightning.pytorch import Trainer as Trainer
    from lightning.pytorch.callbacks import Checkpoint as Checkpoint
    from lightning.pytorch.callbacks import EarlyStopping as EarlyStopping
    from lightning.pytorch.callbacks import GradientAccumulationScheduler as GradientAccumulationScheduler
    from lightning.pytorch.callbacks import ModelCheckpoint as ModelCheckpoint
    from lightning.pytorch.callbacks import ProgressBar as ProgressBar
    from lightning.pytorch.callbacks import StochasticWeightAveraging as StochasticWeightAveraging
    from lightning.pytorch.callbacks import Timer as Timer
    from lightning.pytorch.callbacks import WeightAveraging as WeightAveraging
    from lightning.pytorch.loggers.logger import DummyLogger as DummyLogger
    from lightning.pytorch.loops.fit_loop import RestartStage as RestartStage
    from lightning.pytorch.loops.optimization.automatic import ClosureResult as ClosureResult
    from lightning.pytorch.plugins.precision import MixedPrecision as MixedPrecision
    from lightning.pytorch.plugins.precision import Precision as Precision
    from lightning.pytorch.profilers import PassThroughProfiler as PassThroughProfiler
    from lightning.pytorch.strategies import SingleDeviceStrategy as SingleDeviceStrategy
    from lightning.pytorch.trainer.states import TrainerFn as TrainerFn
    from lightning.pytorch.utilities.combined_loader import CombinedLoader as CombinedLoader
    from lightning.pytorch.utilities.exceptions import _TunerExitException as _TunerExitException
    from lightning.pytorch.utilities.model_helpers import is_overridden as is_overridden
    from lightning.pytorch.utilities.parsing import lightning_hasattr as lightning_hasattr
    from lightning.pytorch.utilities.parsing import lightning_setattr as lightning_setattr
    from lightning.pytorch.utilities.rank_zero import rank_zero_info as rank_zero_info
    from lightning.pytorch.utilities.rank_zero import rank_zero_warn as rank_zero_warn
    from lightning.pytorch.utilities.seed import isolate_rng as isolate_rng
    from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature as is_param_in_hook_signature
else:
    from lightning_fabric.plugins import TorchCheckpointIO as TorchCheckpointIO
    from lightning_fabric.utilities.cloud_io import get_filesystem as get_filesystem
    from lightning_fabric.utilities.seed import pl_worker_init_function as pl_worker_init_function
    from pytorch_lightning import Callback as Callback
    from pytorch_lightning import LightningModule as LightningModule
    from pytorch_lightning import Trainer as Trainer
    from pytorch_lightning.callbacks import Checkpoint as Checkpoint
    from pytorch_lightning.callbacks import EarlyStopping as EarlyStopping
    from pytorch_lightning.callbacks import GradientAccumulationScheduler as GradientAccumulationScheduler
    from pytorch_lightning.callbacks import ModelCheckpoint as ModelCheckpoint
    from pytorch_lightning.callbacks import ProgressBar as ProgressBar
    from pytorch_lightning.callbacks import StochasticWeightAveraging as StochasticWeightAveraging
    from pytorch_lightning.callbacks import Timer as Timer
    from pytorch_lightning.callbacks import WeightAveraging as WeightAveraging
    from pytorch_lightning.loggers.logger import DummyLogger as DummyLogger
    from pytorch_lightning.loops.fit_loop import RestartStage as RestartStage
    from pytorch_lightning.loops.optimization.automatic import ClosureResult as ClosureResult
    from pytorch_lightning.plugins.precision import MixedPrecision as MixedPrecision
    from pytorch_lightning.plugins.precision import Precision as Precision
    from pytorch_lightning.profilers import PassThroughProfiler as PassThroughProfiler
    from pytorch_lightning.strategies import SingleDeviceStrategy as SingleDeviceStrategy
    from pytorch_lightning.trainer.states import TrainerFn as TrainerFn
    from pytorch_lightning.utilities.combined_loader import CombinedLoader as CombinedLoader
    from pytorch_lightning.utilities.exceptions import _TunerExitException as _TunerExitException
    from pytorch_lightning.utilities.model_helpers import is_overridden as is_overridden
    from pytorch_lightning.utilities.parsing import lightning_hasattr as lightning_hasattr
    from pytorch_lightning.utilities.parsing import lightning_setattr as lightning_setattr
    from pytorch_lightning.utilities.rank_zero import rank_zero_info as rank_zero_info
    from pytorch_lightning.utilities.rank_zero import rank_zero_warn as rank_zero_warn
    from pytorch_lightning.utilities.seed import isolate_rng as isolate_rng
    from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature as is_param_in_hook_signature
