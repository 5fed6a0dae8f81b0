"""What `validate_dataset` is made of: figures of a data set, rules, and a verdict."""
