"""From per-user metrics to comparisons: tests, effect sizes and intervals with declared families."""
