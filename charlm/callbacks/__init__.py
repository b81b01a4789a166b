"""Lightning callbacks for anyone's project: each loads its file when it is first used (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.callbacks.atomic_io import AtomicCheckpointIO
    from charlm.callbacks.dashboard.callback import Dashboard
    from charlm.callbacks.embedding_pca.callback import EmbeddingPCA
    from charlm.callbacks.exact_resume.callback import ExactResume
    from charlm.callbacks.finite_loss import FiniteLoss
    from charlm.callbacks.graceful_stop import GracefulStop
    from charlm.callbacks.local_all_reduce import LocalAllReduce
    from charlm.callbacks.lr_finder.callback import LRFinder
    from charlm.callbacks.name_samples import NameSamples
    from charlm.callbacks.process_guard import ProcessGuard
    from charlm.callbacks.progress_bar import StepProgressBar
    from charlm.callbacks.run_checkpoint import RunCheckpoint
    from charlm.callbacks.step_decay.callback import StepDecay
    from charlm.callbacks.steps_per_execution.callback import StepsPerExecution

__all__ = [
    "AtomicCheckpointIO",
    "Dashboard",
    "EmbeddingPCA",
    "ExactResume",
    "FiniteLoss",
    "GracefulStop",
    "LRFinder",
    "LocalAllReduce",
    "NameSamples",
    "ProcessGuard",
    "RunCheckpoint",
    "StepDecay",
    "StepProgressBar",
    "StepsPerExecution",
]

_FILE_OF = {
    "AtomicCheckpointIO": "atomic_io",
    "Dashboard": "dashboard",
    "EmbeddingPCA": "embedding_pca",
    "ExactResume": "exact_resume",
    "FiniteLoss": "finite_loss",
    "GracefulStop": "graceful_stop",
    "LRFinder": "lr_finder",
    "LocalAllReduce": "local_all_reduce",
    "NameSamples": "name_samples",
    "ProcessGuard": "process_guard",
    "RunCheckpoint": "run_checkpoint",
    "StepDecay": "step_decay",
    "StepProgressBar": "progress_bar",
    "StepsPerExecution": "steps_per_execution",
}


def __getattr__(name: str) -> object:
    if name not in _FILE_OF:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; its public names are {', '.join(__all__)}"
        )
    value = getattr(import_module(f"{__name__}.{_FILE_OF[name]}"), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
