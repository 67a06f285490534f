"""The command `suite`: parse, call, print."""
