"""Formats of files that several stages share."""
