# TensorFlow and the suite.  CUDA=1 installs CUDA's libraries with it; the driver comes from the host.
ARG BASE=nvidia/cuda:12.8.1-base-ubuntu24.04

FROM ${BASE} AS tools
RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends python3-venv
RUN --mount=type=bind,source=docker/locks/uv.txt,target=/locks/uv.txt \
    python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
        -r /locks/uv.txt

FROM ${BASE}
RUN --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -f /var/cache/apt/archives/*.deb
# uv is lent, not installed; its cache outlives the build, so nothing is fetched twice.
ARG CUDA=1
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=bind,source=docker/locks/tf.txt,target=/locks/tf-0.txt \
    --mount=type=bind,source=docker/locks/tf-cuda.txt,target=/locks/tf-1.txt \
    --mount=type=cache,id=parity-uv,target=/var/cache/uv \
    export UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never \
    && /opt/uv/bin/uv venv --no-project --python /usr/bin/python3 /opt/venv \
    && /opt/uv/bin/uv pip sync --require-hashes --only-binary :all: --compile-bytecode \
        --python /opt/venv/bin/python /locks/tf-${CUDA}.txt
# Any user may run the suite: every cache lies in /tmp, and whoever asks for a name is told one.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/parity PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    USER=parity LOGNAME=parity HOME=/tmp/home XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/cache/matplotlib \
    KERAS_HOME=/tmp/cache/keras CUDA_CACHE_PATH=/tmp/cache/cuda TF_CPP_MIN_LOG_LEVEL=3 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PARITY_PLACE=container PARITY_DATA=/data
RUN install -d -m 1777 /data /reports
WORKDIR /opt/parity
COPY . .
RUN python -m compileall -q --invalidation-mode unchecked-hash suite
ENV PARITY_CUDA=${CUDA}
RUN --mount=type=tmpfs,target=/tmp python -m suite.machine.doctor tf cpu
USER 1000:1000
# What it was built from: last, so that a new commit builds nothing else again.
ARG BASE
ARG BASE_DIGEST=
ARG COMMIT=
ARG INPUTS=
ARG LOCK=
ENV PARITY_BASE=${BASE} PARITY_BASE_DIGEST=${BASE_DIGEST} PARITY_COMMIT=${COMMIT} PARITY_INPUTS=${INPUTS}
LABEL org.opencontainers.image.title="Parity Suite: tf" org.opencontainers.image.revision=${COMMIT} \
    parity.base=${BASE} parity.base.digest=${BASE_DIGEST} parity.inputs=${INPUTS} parity.lock=${LOCK}
