"""The report: results in, Markdown and charts out.

It reads results and never takes part in a measurement.  The same results give the same bytes.
"""
