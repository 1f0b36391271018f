"""Makes a network smaller: vocabulary, then layers, heads, feed-forward and hidden columns."""
