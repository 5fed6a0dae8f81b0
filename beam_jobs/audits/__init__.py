"""Looking at a written data set as a stranger would: leaks, crops, examples."""
