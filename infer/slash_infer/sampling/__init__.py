"""From a bundle to codes: the graphs opened on a runtime, the batch that steps through them, and the sampler."""
