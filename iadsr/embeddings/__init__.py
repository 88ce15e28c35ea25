"""Encodes item texts as vectors: one interface, several encoders, one stored format."""
