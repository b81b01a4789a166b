"""Every model, by the name of its net: what `--model NAME` and a checkpoint mean."""

# each model adds itself to LitCharLM.models when its file is imported
from charlm.models import mixture, names, ngram, windows
from charlm.models.base import LitCharLM

__all__ = ["MODELS", "LitCharLM", "mixture", "names", "ngram", "windows"]

MODELS: dict[str, type[LitCharLM]] = LitCharLM.models
