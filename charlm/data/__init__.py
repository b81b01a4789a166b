"""The way in: names from a file or the network, cleaned, split, and gathered into batches of contexts and targets."""
