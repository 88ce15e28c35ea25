"""From ranks to metrics: reads run files only, so a model cannot change how it is judged."""
