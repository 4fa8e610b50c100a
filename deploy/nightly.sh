#!/bin/sh
# One scheduled run of the clone that this file is in: pull, repro, push. See docs/scheduling.md.
set -eu
cd "$(dirname "$0")/.."

exec 9< .dvc  # the lock is on this open folder, so it ends with the processes that hold it open
flock --nonblock 9 || {
  echo "error: an earlier scheduled run in $PWD has not ended; this one was not started" >&2
  exit 1
}

git pull --quiet --ff-only
make pull repro push  # data first: a dvc.lock that others can see names data that they can pull
git add --all
git diff --cached --quiet || git commit --quiet --message "Outputs of a scheduled run"
git push --quiet
