# A first package without a Python of one's own, in a folder that belongs to the user:
#   docker build --tag metagen . && mkdir out
#   docker run --rm --user "$(id -u)" --volume "$PWD/out:/out" metagen
FROM python:3.11-slim-bookworm
COPY . /metagen
# A torch without the libraries of GPUs, which take gigabytes.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu '/metagen[data]'
# Clusters that forbid root look at the number; they do not know the image's names.
RUN useradd --create-home --uid 1000 user && install -d -o user /out
USER 1000
ENTRYPOINT ["metagen"]
CMD ["demo", "--out", "/out"]
