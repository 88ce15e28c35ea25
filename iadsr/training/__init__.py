"""One training run: from sequences to a record, a curve and each user's rank."""
