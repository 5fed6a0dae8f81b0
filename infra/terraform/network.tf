# A network without public machines. Workers reach Google's APIs privately, and the
# internet through NAT, as they fetch pictures; Airflow's machine has no way out.

resource "google_compute_network" "main" {
  name                    = "complete-the-look"
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"

  depends_on = [google_project_service.required]
}

resource "google_compute_subnetwork" "workers" {
  #checkov:skip=CKV_GCP_76:The network has no IPv6 addresses at all.
  name                     = "complete-the-look"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = local.workers_range
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_subnetwork" "airflow" {
  #checkov:skip=CKV_GCP_76:The network has no IPv6 addresses at all.
  name                     = "complete-the-look-airflow"
  network                  = google_compute_network.main.id
  region                   = var.region
  ip_cidr_range            = local.airflow_range
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.5
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_router" "main" {
  name    = "complete-the-look"
  network = google_compute_network.main.id
  region  = var.region
}

resource "google_compute_router_nat" "workers" {
  name                               = "complete-the-look-workers"
  router                             = google_compute_router.main.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  # fetch_images keeps 16 connections to a host open, and hosts may be many.
  enable_dynamic_port_allocation = true
  min_ports_per_vm               = 256
  max_ports_per_vm               = 4096

  subnetwork {
    name                    = google_compute_subnetwork.workers.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Dataflow tags its workers `dataflow`, and they talk to each other on these two ports.
resource "google_compute_firewall" "shuffle" {
  name        = "complete-the-look-shuffle"
  description = "Dataflow workers among themselves"
  network     = google_compute_network.main.id
  direction   = "INGRESS"
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_compute_firewall" "workers_among_themselves" {
  name               = "complete-the-look-workers-out"
  description        = "Workers may reach workers; what else is private is denied below"
  network            = google_compute_network.main.id
  direction          = "EGRESS"
  priority           = 1000
  destination_ranges = [local.workers_range]
  target_tags        = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

# The second line behind fetch_images, which refuses private addresses by itself.
resource "google_compute_firewall" "workers_to_private" {
  name               = "complete-the-look-workers-no-private"
  description        = "Workers that fetch pictures reach nothing private"
  network            = google_compute_network.main.id
  direction          = "EGRESS"
  priority           = 2000
  destination_ranges = local.private_ranges
  target_tags        = ["dataflow"]

  deny {
    protocol = "all"
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_firewall" "proxy_to_airflow" {
  name                    = "complete-the-look-proxy"
  description             = "Google's proxy to Airflow's page and shell; IAM decides who"
  network                 = google_compute_network.main.id
  direction               = "INGRESS"
  source_ranges           = local.proxy_ranges
  target_service_accounts = [google_service_account.this["airflow"].email]

  allow {
    protocol = "tcp"
    ports    = ["22", "8080"]
  }
}

# Cloud SQL is reached at a private address of a range that is peered with the network.
resource "google_compute_global_address" "database" {
  name          = "complete-the-look-database"
  network       = google_compute_network.main.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 24
}

resource "google_service_networking_connection" "database" {
  network                 = google_compute_network.main.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.database.name]

  depends_on = [google_project_service.required]
}
