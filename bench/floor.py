"""The floor: the five stages' work and logging in one process, without DVC between them."""

import stages  # first: it sets up the process
from stages import featurize, predict, prepare, register, train

if __name__ == "__main__":
    for stage in (prepare, featurize, train, register, predict):
        stages.run(stage.__name__.removeprefix("stages."), stage.main)
