"""From a trained net to the outside: decoding, choosing, sampling, scoring, export."""
