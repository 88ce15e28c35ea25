"""Chooses settings and options on validation: the same number of trials for every method, test items hidden."""
