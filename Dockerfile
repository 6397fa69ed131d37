# anyfuse on a CPU, with the service and all formats:
#   docker build -t anyfuse .
#   docker run --rm -v "$PWD:/work" anyfuse fuse a.jpg b.jpg -o fused.jpg
FROM python:3.11-slim

# A C compiler for the kernels; it is not needed afterwards.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY . /src
# The pinned PyTorch comes without CUDA, which keeps the image small.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        -c /src/constraints.txt "/src[torch,serve,formats,video]" \
    && rm -rf /src \
    && apt-get purge -y gcc libc6-dev && apt-get autoremove -y

RUN useradd --create-home anyfuse
USER anyfuse
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["anyfuse"]
CMD ["--help"]
