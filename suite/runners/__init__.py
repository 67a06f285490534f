"""One file per framework, behind the protocol in ``base``."""
