"""The contract between the rooms: records, tables, codes and where they lie.

Everything that one stage writes and another reads is declared here once. This package
imports no other room, no Airflow and no Beam, and TensorFlow only to open a data set.
"""
