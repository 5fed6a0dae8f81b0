"""What `make deploy` does: images, Terraform, the Airflow machine and its secrets."""
