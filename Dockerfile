# The server, alone in an image:
#
#   docker build -t latentserve .                           # on a GPU: --build-arg ENGINE=gpu, and run with --gpus all
#                                                           # and more: --build-arg EXTRAS="sign tables audio"
#   docker run --rm -p 127.0.0.1:3000:3000 -v "$PWD/demo/bundle:/bundle:ro" -e LATENTSERVE_ALLOW_OPEN=true \
#     --read-only --tmpfs /tmp --cap-drop ALL latentserve
#
# Answers under way get 30 s (LATENTSERVE_DRAIN_SECONDS) when it is stopped: `docker stop -t 40`, for it kills after 10 s.
# Without `--tmpfs /tmp` (or a LATENTSERVE_HOME that is writable) a read-only container ends with a line that says so.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG ENGINE=cpu
ARG EXTRAS=
WORKDIR /src
# The environment has no pip of its own: the base's installs into it.
RUN python -m venv --without-pip /opt/latentserve

# What changes seldom first: an edit of the project does not install its dependencies anew.
COPY pyproject.toml ./
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*p['dependencies'], *(one for extra in '${ENGINE} ${EXTRAS}'.split() for one in p['optional-dependencies'][extra]), \
        sep='\n')" > requirements.txt \
    && pip --python /opt/latentserve/bin/python install --no-cache-dir --only-binary :all: -r requirements.txt \
    && find /opt/latentserve -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +

COPY README.md LICENSE ./
COPY latentserve latentserve
COPY service service
COPY training training
COPY docs/runbooks docs/runbooks
RUN pip --python /opt/latentserve/bin/python install --no-cache-dir --no-deps .

# What the environment consists of (CycloneDX), told by what is not in it.
RUN python -m venv /opt/sbom && /opt/sbom/bin/pip install --no-cache-dir "cyclonedx-bom>=7" \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file /opt/latentserve/sbom.cdx.json /opt/latentserve/bin/python


FROM ${BASE}
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin latentserve
COPY --from=build /opt/latentserve /opt/latentserve

# /tmp is all that is ever written to. ONNX Runtime and BentoML report home unless told not to.
ENV PATH=/opt/latentserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    BENTOML_DO_NOT_TRACK=True \
    ORT_DISABLE_TELEMETRY=1 \
    LATENTSERVE_HOST=0.0.0.0 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 3000
# Where it listens, and how, the server says itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "latentserve.service.health"]
ENTRYPOINT ["latentserve"]
CMD ["serve", "/bundle"]
