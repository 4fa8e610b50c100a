"""Tables of any size, made of the possums: rows drawn again and again, measurements with noise.

``python -m bench.table 1000000 folder parquet`` writes one. A chunk's rows follow from its
number, so a larger table begins with the smaller one, and memory holds one chunk at a time.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

SOURCE = Path(__file__).parent.parent / "data/raw/possum.csv"
CHUNK_ROWS = 100_000
FILE_ROWS = 1_000_000
SEED = 104
NOISE = 0.1  # of a column's standard deviation
KEY, TEXT = "case", ["site", "Pop", "sex"]


def write(folder: Path, rows: int, kind: str) -> None:
    """Write a table: Parquet in files of `FILE_ROWS` rows, or one CSV file."""
    folder.mkdir(parents=True)
    if kind == "csv":
        with (folder / "table.csv").open("wb") as file:
            for number, chunk in enumerate(chunks(rows)):
                options = pyarrow.csv.WriteOptions(
                    include_header=number == 0, quoting_style="needed"
                )
                pyarrow.csv.write_csv(chunk, file, options)
        return
    writer: pyarrow.parquet.ParquetWriter | None = None
    for number, chunk in enumerate(chunks(rows)):
        if number % (FILE_ROWS // CHUNK_ROWS) == 0:
            if writer:
                writer.close()
            path = folder / f"{number * CHUNK_ROWS // FILE_ROWS:05}.parquet"
            writer = pyarrow.parquet.ParquetWriter(path, chunk.schema)
        writer.write_table(chunk)
    writer.close()


def chunks(rows: int) -> Iterator[pa.Table]:
    """Make the rows, `CHUNK_ROWS` at a time, missing values as often as the possums have them."""
    source = pd.read_csv(SOURCE, dtype=dict.fromkeys(TEXT, "str"))
    measured = [name for name in source.columns if name not in (KEY, *TEXT)]
    spread = NOISE * source[measured].std().to_numpy()
    for number, first in enumerate(range(0, rows, CHUNK_ROWS)):
        count = min(CHUNK_ROWS, rows - first)
        random = np.random.default_rng([SEED, number])
        drawn = random.integers(0, len(source), CHUNK_ROWS)[:count]
        noise = random.normal(0, spread, (CHUNK_ROWS, len(measured)))[:count]
        frame = source.iloc[drawn].reset_index(drop=True)
        frame[KEY] = np.arange(first + 1, first + 1 + count)
        frame[measured] = (frame[measured] + noise).round(3)
        yield pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


if __name__ == "__main__":
    write(Path(sys.argv[2]), int(sys.argv[1]), sys.argv[3])
