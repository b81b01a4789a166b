"""LightningModules around the nets."""
