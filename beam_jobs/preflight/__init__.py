"""What is looked at before a run begins; see `beam_jobs.preflight.__main__`."""
