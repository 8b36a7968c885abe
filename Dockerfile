# Exposit for a server: the service and its workers, on a CPU. The language model's server is an image of its own (see
# docker-compose.yml). Built once; nothing is fetched at run time but what `exposit models pull` is told to.
#
#   docker build -t exposit .
#   docker build -t exposit --build-arg INDEX=https://download.pytorch.org/whl/cpu .   # PyTorch without CUDA, 4 GB less
FROM python:3.11-slim-trixie AS build

ARG INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/exposit
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY agent/ agent/
COPY evals/ evals/
COPY finetune/ finetune/
COPY tools/ tools/
COPY ui/ ui/
RUN /opt/exposit/bin/pip install ${INDEX:+--extra-index-url "$INDEX"} -c constraints.txt ".[postgres,otel]"
# The weights that the tools read come into the image, checked against their pinned hashes: a container starts without a
# network, and what was measured is what runs. The language model (EXPOSIT_VLM) is left out; see docs/DOCKER.md.
# hadolint ignore=DL3059
RUN EXPOSIT_CACHE=/opt/weights /opt/exposit/bin/exposit models pull clip

FROM python:3.11-slim-trixie

RUN useradd --system --user-group --uid 10001 --create-home --home-dir /home/exposit exposit \
    && install -d -o exposit -g exposit -m 0700 /data
COPY --from=build /opt/exposit /opt/exposit
COPY --from=build --chown=exposit:exposit /opt/weights /opt/weights
ENV PATH=/opt/exposit/bin:$PATH \
    EXPOSIT_HOME=/data \
    EXPOSIT_CACHE=/opt/weights \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /home/exposit
VOLUME /data
EXPOSE 7860
# In a container it listens on every address, and so asks for keys: `exposit keys create` makes one.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/readyz', timeout=9)"]
ENTRYPOINT ["exposit"]
CMD ["serve", "--host", "0.0.0.0", "--port", "7860"]
