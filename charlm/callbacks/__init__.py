"""Lightning callbacks, and a loader, for any project; each loads its file when it is first used (PEP 562)."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the same names for type checkers, which do not run `__getattr__`
    from charlm.callbacks.atomic_io import AtomicCheckpointIO as AtomicCheckpointIO
    from charlm.callbacks.dashboard.callback import Dashboard as Dashboard
    from charlm.callbacks.embedding_pca.callback import EmbeddingPCA as EmbeddingPCA
    from charlm.callbacks.exact_resume.callback import ExactResume as ExactResume
    from charlm.callbacks.finite_loss import FiniteLoss as FiniteLoss
    from charlm.callbacks.graceful_stop import GracefulStop as GracefulStop
    from charlm.callbacks.lr_finder.callback import LRFinder as LRFinder
    from charlm.callbacks.lr_finder.lr_find import lr_find as lr_find
    from charlm.callbacks.name_samples import NameSamples as NameSamples
    from charlm.callbacks.progress_bar import StepProgressBar as StepProgressBar
    from charlm.callbacks.run_checkpoint import RunCheckpoint as RunCheckpoint
    from charlm.callbacks.step_decay.callback import StepDecay as StepDecay
    from charlm.callbacks.steps_per_execution.callback import StepsPerExecution as StepsPerExecution
    from charlm.data.resumable_loader import ResumableLoader as ResumableLoader

_FILE_OF = {
    "AtomicCheckpointIO": "atomic_io",
    "Dashboard": "dashboard",
    "EmbeddingPCA": "embedding_pca",
    "ExactResume": "exact_resume",
    "FiniteLoss": "finite_loss",
    "GracefulStop": "graceful_stop",
    "LRFinder": "lr_finder",
    "NameSamples": "name_samples",
    "ResumableLoader": ".data.resumable_loader",  # of charlm.data; handed on here because ExactResume needs it
    "RunCheckpoint": "run_checkpoint",
    "StepDecay": "step_decay",
    "StepProgressBar": "progress_bar",
    "StepsPerExecution": "steps_per_execution",
    "lr_find": "lr_finder.lr_find",
}
if not TYPE_CHECKING:  # type checkers take the imports above, for a star import too
    __all__ = [*_FILE_OF]


def __getattr__(name: str) -> object:
    if name not in _FILE_OF:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; its public names are {', '.join(sorted(_FILE_OF))}"
        )
    value = getattr(import_module(f".{_FILE_OF[name]}", __name__), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FILE_OF})
