"""Turns interaction tables into item sequences per user, samples and batches."""
