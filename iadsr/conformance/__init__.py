"""Checks that every method passes, whoever wrote it."""
