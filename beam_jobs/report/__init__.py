"""The report of a run: one self-contained HTML page from what the stages left behind.

It reads receipts, a model's files, rankings, the warehouse and pictures; it computes no
metric of its own.
"""
