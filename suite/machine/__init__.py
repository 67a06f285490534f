"""What a result was measured on: hardware, system, packages and source; and whether a framework computes here."""
