"""Item texts to vectors: one interface, several encoders, one stored format."""
