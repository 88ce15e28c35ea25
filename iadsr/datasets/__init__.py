"""Fetches the published datasets, checks them, and writes them all as the same tables."""
