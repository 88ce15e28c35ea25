"""Reproducibility harness for sequence-denoising recommenders: the IADSR replication."""

__version__ = "0.1.0"
