"""Faults planted in a runner, to see whether the gate catches them, and harmless mutants that it must let pass.

    python -m tests.faults                       in the reference, taken as a runner
    python -m tests.faults --runner torch        in a framework, in its environment

No runner has a hook for any of it: a fault is a spec, an array or a call changed on its way, or a function of the
runner's replaced while the runner is at work.
"""
