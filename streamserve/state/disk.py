"""A store for state larger than memory: RocksDB, through rocksdict (extra ``disk``)."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from streamserve.clock import Clock, SystemClock
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import ConfigurationError, OutageError
from streamserve.state.directory import StateDirectory
from streamserve.state.format import VERSION

if TYPE_CHECKING:
    from rocksdict import Options, Rdict, WriteOptions

__all__ = ["DiskStore", "require_rocksdict"]

_MIB = 1024 * 1024
_BLOCK_CACHE = 128 * _MIB
_WRITE_BUFFERS = 128 * _MIB
_WRITE_BUFFER = 32 * _MIB
_BLOOM_BITS = 10  # 1 % of look-ups for absent keys read a block (RocksDB wiki, "RocksDB Bloom Filter")
_OPEN_FILES = 256


class DiskStore:
    """RocksDB in a directory of its own, without a write-ahead log: the changelog is the log.

    All disk stores of a process share a block cache of 128 MiB and write buffers of 128 MiB; indexes and filters come
    on top, about 3 bytes a key. After any stop but ``close`` with an offset it begins empty. A directory closed
    longer than ``max_age`` ago begins empty too: keep it below the changelog's ``delete.retention.ms``. So does one
    that was closed with another ``changelog``, the identity of the topic that the offset is of.

    Raises:
        ConfigurationError: rocksdict is missing, the directory is in use by another process or cannot be used.
    """

    is_indexed_on_disk: bool = True

    def __init__(
        self, path: Path, *, clock: Clock | None = None, max_age: Duration = "12h", changelog: str = ""
    ) -> None:
        require_rocksdict()
        self._directory = StateDirectory(
            path,
            clock or SystemClock(),
            version=VERSION,
            max_age_ms=to_milliseconds(max_age),
            changelog=changelog,
        )
        self._database = self._open_or_start_anew()

    @property
    def opened_at(self) -> int | None:
        """The changelog offset from which to go on loading; ``None`` when the store began empty."""
        return self._directory.opened_at

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, ``None`` where there is none."""
        return self._database.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, in the order of ``keys``; half the cost of as many single look-ups."""
        return self._database.get(list(keys)) if keys else []

    def write(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Put each value under its key, in order, later ones winning; ``None`` deletes. All or nothing.

        Raises:
            OutageError: the disk is full or fails.
        """
        from rocksdict import WriteBatch

        batch = WriteBatch(raw_mode=True)
        for key, value in zip(keys, values, strict=True):
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        with _translated(self._directory.data):
            self._database.write(batch, _write_options())

    def items(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in byte order of keys, as the store is now: later writes do not show."""
        items = self._database.items(from_key=start)
        return items if stop is None else takewhile(lambda item: item[0] < stop, items)

    def estimated_size(self) -> int:
        """Return RocksDB's estimate of the number of records; keys written often count more than once for a while."""
        return self._database.property_int_value("rocksdb.estimate-num-keys") or 0

    def clear(self) -> None:
        """Delete everything; ``opened_at`` is ``None`` afterwards."""
        self._database.close()
        self._directory.empty()
        self._database = self._open()

    def close(self, clean_at: int | None) -> None:
        """Flush and leave the marker that makes the next opening go on at ``clean_at``; without it, just close."""
        try:
            with _translated(self._directory.data):
                if clean_at is not None:
                    self._database.flush(wait=True)
                self._database.close()
        except OutageError:
            self._directory.release(None)
            raise
        self._directory.release(clean_at)

    def _open_or_start_anew(self) -> Rdict:
        try:
            return self._open()
        except OutageError:
            self._directory.empty()
        try:
            return self._open()
        except OutageError as error:
            self._directory.release(None)
            raise ConfigurationError(f"{error} Choose another state directory, or keep the table in memory.") from error

    def _open(self) -> Rdict:
        from rocksdict import Rdict

        with _translated(self._directory.data):
            return Rdict(str(self._directory.data), _options())


def require_rocksdict() -> None:
    """Make sure that tables can be kept on disk.

    Raises:
        ConfigurationError: the extra ``disk`` is not installed.
    """
    if find_spec("rocksdict") is None:
        raise ConfigurationError(
            "tables on disk need rocksdict: install streamserve[disk], or keep the table in memory."
        )


@functools.cache
def _options() -> Options:
    """Return the options of every store; sharing them shares the block cache and the write buffers."""
    from rocksdict import BlockBasedOptions, Cache, DataBlockIndexType, DBCompressionType, Options, WriteBufferManager

    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(_BLOCK_CACHE))
    blocks.set_bloom_filter(_BLOOM_BITS, block_based=False)
    blocks.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
    options = Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(_WRITE_BUFFER)
    options.set_write_buffer_manager(WriteBufferManager(_WRITE_BUFFERS, allow_stall=False))
    options.set_max_open_files(_OPEN_FILES)
    options.set_keep_log_file_num(1)
    return options


@functools.cache
def _write_options() -> WriteOptions:
    from rocksdict import WriteOptions

    options = WriteOptions()
    options.disable_wal = True
    return options


@contextmanager
def _translated(path: Path) -> Generator[None]:
    """Turn what rocksdict raises into an ``OutageError`` that names the database."""
    try:
        yield
    except Exception as error:
        raise OutageError(f"state on disk at {path}: {error}.") from error
