"""What every room may use: names, errors, atomic files, configuration, identity, provenance."""
