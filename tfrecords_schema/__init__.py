"""The contract between the rooms: records, tables, codes and where they lie.

Everything that one stage writes and another reads is declared here once. This package
imports no other room, no Airflow and no Beam, and TensorFlow only to open a data set.
"""

import os

# Every job imports this package before TensorFlow, which reads these as it starts. Its
# C++ side would tell of drivers that are not there and of paths it did not take; what
# goes wrong is raised as well. Set to 0, the first says why a GPU is not found.
for _name, _value in {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}.items():
    os.environ.setdefault(_name, _value)
