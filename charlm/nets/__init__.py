"""The architectures, one a file: plain `nn.Module`, context in, logits out."""
