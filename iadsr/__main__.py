"""`python -m iadsr`."""

from iadsr.cli import main

main()
