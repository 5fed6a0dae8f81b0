"""What `deploy` is made of: images, Terraform, the Airflow machine and its secrets."""
