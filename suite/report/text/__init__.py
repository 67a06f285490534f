"""Markdown and numbers as people read them, out of text that may be hostile."""
