ARG BASE_IMAGE=python:3.11-slim-bookworm

# The pins of the build's own tools; the stages below are made again only when one of these changes.
FROM ${BASE_IMAGE} AS pins
COPY requirements/dev.txt /
RUN awk '/^(setuptools|uv)==/,!/\\$/' /dev.txt > /tools.txt

# What builds; no image that runs is made from it.
FROM ${BASE_IMAGE} AS tools
COPY --from=pins /tools.txt /
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --quiet --no-deps --require-hashes --requirement /tools.txt
COPY --chmod=755 hack/image-site.sh /usr/local/bin/image-site.sh

# The project, built once.
FROM tools AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY bikeshare bikeshare
RUN /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM tools AS pipeline-site
COPY requirements/pipeline.txt /
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    image-site.sh /opt/bikeshare /pipeline.txt

FROM tools AS predictor-site
COPY requirements/predictor.txt /
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    image-site.sh /opt/bikeshare /predictor.txt

FROM tools AS monitor-site
COPY requirements/monitor.txt /
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    image-site.sh /opt/bikeshare /monitor.txt

FROM tools AS dashboard-site
COPY requirements/dashboard.txt /
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    image-site.sh /opt/bikeshare /dashboard.txt

# What runs: the base's interpreter without installers and set-user-id programs, and a user without a home.
FROM ${BASE_IMAGE} AS runtime
RUN groupadd --gid 10001 bikeshare \
    && useradd --uid 10001 --gid bikeshare --no-create-home --home-dir /tmp --shell /usr/sbin/nologin bikeshare \
    && install --directory --owner=bikeshare --group=bikeshare /var/lib/bikeshare \
    && rm -rf /usr/share/python-wheels /usr/lib/python3*/ensurepip /usr/local/lib/python3*/ensurepip \
        /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip* \
    && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
WORKDIR /app
ENV PATH=/opt/bikeshare/bin:$PATH \
    HOME=/tmp \
    BIKESHARE_HOME=/var/lib/bikeshare \
    BENTOML_DO_NOT_TRACK=True \
    DO_NOT_TRACK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM runtime AS pipeline
COPY --from=pipeline-site /opt/bikeshare /opt/bikeshare
RUN --mount=from=tools,source=/opt/tools,target=/opt/tools --mount=from=wheel,source=/wheels,target=/wheels \
    /opt/tools/bin/uv pip install --quiet --python /opt/bikeshare --no-cache --no-deps --no-index --compile-bytecode /wheels/*.whl
COPY components components
COPY pipelines pipelines
COPY services services
COPY data data
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title=bikeshare-pipeline \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.version=${VERSION}
ENV GIT_REVISION=${REVISION}
USER 10001:10001
CMD ["bikeshare", "pipeline", "--help"]

FROM runtime AS predictor
COPY --from=predictor-site /opt/bikeshare /opt/bikeshare
RUN --mount=from=tools,source=/opt/tools,target=/opt/tools --mount=from=wheel,source=/wheels,target=/wheels \
    /opt/tools/bin/uv pip install --quiet --python /opt/bikeshare --no-cache --no-deps --no-index --compile-bytecode /wheels/*.whl
COPY components components
COPY pipelines pipelines
COPY services services
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title=bikeshare-predictor \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.version=${VERSION}
# One request is microseconds of work: a second thread per forest only costs.
ENV GIT_REVISION=${REVISION} \
    OMP_NUM_THREADS=1
USER 10001:10001
EXPOSE 3000
CMD ["python", "-m", "services.predictor", "--host", "0.0.0.0"]

FROM runtime AS monitor
COPY --from=monitor-site /opt/bikeshare /opt/bikeshare
RUN --mount=from=tools,source=/opt/tools,target=/opt/tools --mount=from=wheel,source=/wheels,target=/wheels \
    /opt/tools/bin/uv pip install --quiet --python /opt/bikeshare --no-cache --no-deps --no-index --compile-bytecode /wheels/*.whl
COPY components components
COPY pipelines pipelines
COPY services services
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title=bikeshare-monitor \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.version=${VERSION}
ENV GIT_REVISION=${REVISION}
USER 10001:10001
CMD ["python", "-m", "services.monitor"]

FROM runtime AS dashboard
COPY --from=dashboard-site /opt/bikeshare /opt/bikeshare
RUN --mount=from=tools,source=/opt/tools,target=/opt/tools --mount=from=wheel,source=/wheels,target=/wheels \
    /opt/tools/bin/uv pip install --quiet --python /opt/bikeshare --no-cache --no-deps --no-index --compile-bytecode /wheels/*.whl
COPY components components
COPY pipelines pipelines
COPY services services
ARG REVISION=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title=bikeshare-dashboard \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.version=${VERSION}
ENV GIT_REVISION=${REVISION}
USER 10001:10001
EXPOSE 8501
CMD ["python", "-m", "services.dashboard", "--host", "0.0.0.0"]
