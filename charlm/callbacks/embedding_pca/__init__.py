"""The room of `EmbeddingPCA`."""

from charlm.callbacks.embedding_pca.callback import EmbeddingPCA as EmbeddingPCA
