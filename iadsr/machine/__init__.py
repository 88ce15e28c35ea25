"""What is particular to this machine and installation: CPUs, locks, errors of the system, provenance."""
