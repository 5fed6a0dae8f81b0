"""What the DAGs are wired from; nothing here imports TensorFlow, Beam or a job."""
