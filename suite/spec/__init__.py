"""What a benchmark is: from a YAML file to a frozen, framework-neutral `Spec` with a digest.

Reading, checking and resolving all happen here.  `recipe` is what an author writes, `resolved` what a runner gets.
"""
