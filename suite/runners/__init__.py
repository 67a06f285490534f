"""One folder per framework, behind the protocol in `base`.

`reference` defines what a spec means, in NumPy.  `null` computes nothing and shows what the instrument costs.
"""
