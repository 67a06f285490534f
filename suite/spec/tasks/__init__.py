"""Tasks, a file each, found by its name: the examples it makes, the targets that go with it, its metrics and tables.

`task` is what every task has, `shown` the parts of which its tables are made.
"""
