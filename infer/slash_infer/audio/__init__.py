"""Sound apart from any model: files, streams, the speakers, pictures and measures."""
