"""The gallery: a web page to listen to clips on. It consists of files alone and opens without a server."""
