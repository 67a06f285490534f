"""Environments from lock files, before anything is installed.

It uses the standard library alone, so that `make envs` works on a bare machine and an old Python is refused politely.
"""
