"""Data sets: fetch the published files, read them, check them, and write one table form for all."""
