"""The contrastive stage: data, loss, gradient caching, the loop around them and the averaging of its checkpoints."""
