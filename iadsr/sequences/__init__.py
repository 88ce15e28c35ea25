"""Interaction tables become per-user item sequences, samples and batches."""
