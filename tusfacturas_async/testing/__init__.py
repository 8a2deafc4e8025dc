"""What a backend's own tests need: a pytest plugin. Nothing of it loads before a test uses it."""
