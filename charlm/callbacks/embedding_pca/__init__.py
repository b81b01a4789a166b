"""`EmbeddingPCA` and its parts."""

from charlm.callbacks.embedding_pca.callback import EmbeddingPCA as EmbeddingPCA
