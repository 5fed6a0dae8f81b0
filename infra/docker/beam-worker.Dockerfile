# Workers of Beam jobs on Dataflow: the project's code and Beam's own starter.

FROM apache/beam_python3.12_sdk:2.77.0 AS beam

FROM python:3.12.12-slim-bookworm AS build
ENV UV_PYTHON=/usr/local/bin/python3.12 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY infra/local/uv.txt infra/docker/jobs.txt ./
RUN python -m venv /uv \
    && /uv/bin/pip install --no-cache-dir --require-hashes --requirement uv.txt \
    && /uv/bin/uv venv /opt/complete-the-look \
    && /uv/bin/uv pip sync --no-cache --require-hashes \
        --python /opt/complete-the-look/bin/python jobs.txt
COPY setup.py pyproject.toml ./
COPY beam_jobs beam_jobs
COPY infra/__init__.py infra/
COPY infra/validation infra/validation
COPY infra/warehouse infra/warehouse
COPY tfrecords_schema tfrecords_schema
COPY trainer trainer
RUN /uv/bin/uv pip install --no-cache --no-deps --no-build-isolation \
    --python /opt/complete-the-look/bin/python .

#checkov:skip=CKV_DOCKER_2:Who runs the container watches its process; a health check would be run by nobody.
FROM python:3.12.12-slim-bookworm
LABEL org.opencontainers.image.title="complete-the-look beam-worker"
RUN useradd --uid 50000 --create-home worker
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=build /opt/complete-the-look /opt/complete-the-look
ENV PATH=/opt/complete-the-look/bin:$PATH \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    PYTHONUNBUFFERED=1
USER 50000:50000
ENTRYPOINT ["/opt/apache/beam/boot"]
