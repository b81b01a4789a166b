"""`ExactResume` and its parts."""

from charlm.callbacks.exact_resume.callback import ExactResume as ExactResume
