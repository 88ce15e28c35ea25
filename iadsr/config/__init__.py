"""What run files, protocols, methods, datasets and encoders may say, and the grid of runs that follows from them."""
