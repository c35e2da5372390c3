# The first command of the README: `docker run --rm -v "$PWD/out:/out" IMAGE` builds the demo there.
FROM python:3.11-slim-bookworm
COPY . /metagen
# A torch without the libraries of GPUs, which take gigabytes.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu '/metagen[data]'
RUN useradd --create-home user && install -d -o user /out
USER user
ENTRYPOINT ["metagen"]
CMD ["demo", "--out", "/out"]
