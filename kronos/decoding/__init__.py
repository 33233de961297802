"""Generation: the cache, the decode steps, the sampling of tokens, and the batches they run in."""
