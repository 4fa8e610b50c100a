"""Parquet files, cut at row groups."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet

from ridgeline.errors import DataError
from ridgeline.tables.place import opened

if TYPE_CHECKING:
    from ridgeline.tables.reading import Part


def column_names(place: str) -> list[str]:
    """Return the names of a file's columns, in file order."""
    with opened(place) as stream:
        return list(pyarrow.parquet.read_schema(stream).names)


def size(place: str) -> int:
    """Return the number of rows in a file."""
    with opened(place) as stream:
        return int(pyarrow.parquet.read_metadata(stream).num_rows)


def spans(place: str, part_rows: int) -> Iterator[tuple[int, int | None, int]]:
    """Join row groups up to `part_rows` rows; yield each span's first, last (excluded) and rows."""
    with opened(place) as stream:
        metadata = pyarrow.parquet.read_metadata(stream)
    first, rows = 0, 0
    for group in range(metadata.num_row_groups):
        more = metadata.row_group(group).num_rows
        if group > first and rows + more > part_rows:
            yield first, group, rows
            first, rows = group, 0
        rows += more
    yield first, metadata.num_row_groups, rows


def read(part: "Part") -> Iterator[pa.RecordBatch]:
    """Yield the rows of the part's row groups, with the types of the file."""
    with opened(part.place) as stream, pyarrow.parquet.ParquetFile(stream) as parquet:
        schema = pa.schema([parquet.schema_arrow.field(name) for name in part.columns])
        for field in schema:
            if pa.types.is_nested(field.type) or "binary" in str(field.type):
                raise DataError(
                    f"{part.file}: column {field.name!r} holds {field.type}, which is neither "
                    "text nor a number; convert it"
                )
        yield pa.RecordBatch.from_pylist([], schema)
        for batch in parquet.iter_batches(
            part.part_rows,
            range(part.first, part.first if part.last is None else part.last),
            list(part.columns),
            use_threads=False,
        ):
            for column in batch.columns:
                if not pa.types.is_primitive(column.type):
                    column.validate(full=True)  # a text may not be UTF-8
            yield batch.select(part.columns)
