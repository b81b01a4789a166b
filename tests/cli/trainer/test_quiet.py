import logging
import warnings

import pytest

from charlm.cli.trainer.quiet import quiet


def test_quiet_drops_what_says_nothing_and_shows_our_own_notes(capsys):
    lightning, own = logging.getLogger("lightning.pytorch.utilities.rank_zero"), logging.getLogger("charlm.anything")
    before = [*lightning.filters], [*logging.getLogger("charlm").handlers], [*warnings.filters]
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    lightning.addHandler(handler)
    with quiet():
        own.info("names read")
        lightning.error("💡 Tip: buy something")
        lightning.error("`Trainer.fit` stopped: `max_steps=3` reached.")
        lightning.error("something to know")
        warnings.warn("The dirpath has changed from a to b", UserWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="look at this"):
            warnings.warn("look at this", UserWarning, stacklevel=1)
        warnings.simplefilter("always")
        warnings.warn_explicit("one\x1b line", UserWarning, "/place/lightning/pytorch/file.py", 3)
    lightning.removeHandler(handler)
    assert capsys.readouterr().err.splitlines() == ["names read", r"Warning: one\x1b line"]
    assert seen == ["something to know"]
    assert ([*lightning.filters], [*logging.getLogger("charlm").handlers], [*warnings.filters]) == before
