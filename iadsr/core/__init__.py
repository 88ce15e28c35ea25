"""What every room may use: column names, errors, atomic files and digests, seeds."""
