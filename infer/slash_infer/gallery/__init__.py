"""The gallery: a page to listen to clips on, made of files alone, so that it opens from a disk."""
