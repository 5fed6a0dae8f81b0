"""Package definition, for the environment here and for the images of `infra/docker`."""

from setuptools import find_packages, setup

# What a Beam worker and a training host need. Exact versions are in
# requirements.lock; the ranges here say what the code is written against.
CORE = [
    "aiohttp>=3.14,<4",
    "apache-beam>=2.77,<3",
    "duckdb>=1.5,<2",
    "etils[epath]>=1.13",
    "google-crc32c>=1.7",
    "jinja2>=3.1,<4",
    "keras>=3.15,<4",
    "numpy>=2.2,<3",
    "pillow>=12.3,<13",
    "protego>=0.4",
    "pyarrow>=20",
    "pyyaml>=6",
    "sqlglot>=30,<31",
    "tensorflow>=2.21,<2.22",
    "tensorflow-datasets>=4.9.10,<5",
    "tensorflow-metadata>=1.17",
    "threadpoolctl>=3.5,<4",
    "uvloop>=0.21,<1",
]

EXTRAS = {
    "airflow": [
        "apache-airflow>=3.3.2,<3.4",
        "apache-airflow-providers-apache-beam>=6.3.1",
        "apache-airflow-providers-google>=22.8",
        "apache-airflow-providers-standard>=1.9",
    ],
    "gcp": [
        "apache-beam[gcp]>=2.77,<3",
        "google-cloud-bigquery>=3.47,<4",
        "google-cloud-storage>=3.17,<4",
    ],
    # What `rank_catalog --index` needs.
    "index": ["faiss-cpu>=1.12"],
    "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
    "dev": [
        "faiss-cpu>=1.12",
        "hypothesis>=6.150",
        "import-linter>=2.7",
        "jax>=0.8",
        "mypy>=1.19",
        "pytest>=9",
        "pytest-xdist>=3.8",
        "python-hcl2>=8.1",
        "ruff>=0.14",
        "tensorboard>=2.20",
        "types-PyYAML",
    ],
}

setup(
    name="complete-the-look",
    version="0.1.0",
    description="Scene-based fashion and home recommendation: data, training, ranking.",
    python_requires=">=3.11,<3.14",
    packages=find_packages(
        include=["beam_jobs*", "trainer*", "tfrecords_schema*", "infra*"]
    ),
    package_data={
        "infra": [
            "scaling/*.yaml",
            "settings/*",
            "validation/*",
            "warehouse/*/*",
            "warehouse/views/*/*",
        ],
        "beam_jobs": ["templates/*"],
        "trainer.serving": ["templates/*"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
)
