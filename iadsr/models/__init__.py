"""Backbones: torch modules that turn item embeddings into states. Tensors in, tensors out."""
