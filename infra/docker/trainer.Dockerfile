# The trainer on machines with GPUs. CUDA comes with TensorFlow's wheels; of the machine
# the image needs nothing but the driver.

FROM python:3.12.12-slim-bookworm AS build
ENV UV_PYTHON=/usr/local/bin/python3.12 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY infra/local/uv.txt infra/docker/trainer.txt ./
RUN python -m venv /uv \
    && /uv/bin/pip install --no-cache-dir --require-hashes --requirement uv.txt \
    && /uv/bin/uv venv /opt/complete-the-look \
    && /uv/bin/uv pip sync --no-cache --require-hashes \
        --python /opt/complete-the-look/bin/python trainer.txt
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
LABEL org.opencontainers.image.title="complete-the-look trainer"
RUN useradd --uid 50000 --create-home trainer
COPY --from=build /opt/complete-the-look /opt/complete-the-look
ENV PATH=/opt/complete-the-look/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
USER 50000:50000
WORKDIR /home/trainer
CMD ["python", "-m", "trainer.task", "--help"]
