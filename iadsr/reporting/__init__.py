"""The report: one HTML page, its tables as CSV and LaTeX. It reads result files only; it computes no metric."""
