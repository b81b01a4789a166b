"""The room of `ExactResume`."""

from charlm.callbacks.exact_resume.callback import ExactResume as ExactResume
