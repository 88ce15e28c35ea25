"""Denoising methods around a backbone, and the controls that any claim must beat."""
