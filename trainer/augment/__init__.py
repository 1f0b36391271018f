"""Makes queries from passages, by cropping and by a local LLM, and orders passages by one."""
