"""Sound, independent of any model: files, streams, the speakers, pictures and measures."""
