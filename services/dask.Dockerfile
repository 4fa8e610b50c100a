# Dask with the packages that the project's functions import; the project itself is mounted.
FROM python:3.11-slim-bookworm
COPY requirements.txt requirements-dask.txt /tmp/
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt --requirement /tmp/requirements-dask.txt
# Workers write outputs: as the user whose project it is, not as root.
ENTRYPOINT ["sh", "-c", "exec setpriv --reuid=$(stat -c %u .) --regid=$(stat -c %g .) --clear-groups \"$0\" \"$@\""]
