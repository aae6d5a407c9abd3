"""ParquetSource: the windows of a folder, local or S3, and their labels once they arrive."""

from __future__ import annotations

import difflib
import posixpath
from functools import cached_property

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from engine.data import classes, ids, tables
from engine.data.conf import DataConf
from engine.data.files import check_regular, open_table
from engine.errors import ClassError, DataError, LabelsError
from engine.records import Task, Window, fields
from engine.system import places

SUFFIX = ".parquet"
UNFINISHED = (".tmp", ".part", ".partial", ".inprogress")  # endings that writers give a name until they are done
TABLES = (".csv", ".csv.gz", ".tsv", ".feather", ".arrow", ".pq")  # what people have where Parquet is expected
MIN_ROWS = 2  # one row has no spread: no statistic, no interval, no split is defined on it
INLINE = "data.label, or name the folder of label files in data.labels"  # how a label comes to its window


class ParquetSource:
    """The windows of `conf.path`, in order of their names.

    Reads only the declared columns, in the types that `engine.data.tables` states. Label files are opened
    only where labels are asked for. Every error is a DataError that names file and column.

    `founding`: how many windows, the first ones, tell which classes a label of words has where the config does not.
    """

    def __init__(self, conf: DataConf, founding: int = 1) -> None:
        self.conf, self._founding = conf, founding

    @cached_property
    def classes(self) -> classes.Classes:
        """The classes of a label of words: those of the config, else those of the founding windows."""
        if self.conf.words:
            return classes.Classes(self.conf.words)
        words, where = [], self.conf.path
        for name in self.names()[: self._founding]:
            path = self._labels_path(name)
            where = f"{path}:{self.conf.label}"
            column = _read_columns(path, {self.conf.label: "data.label"})[self.conf.label]
            words.append(classes.spelled(column, where))
        return classes.learn(words, self.conf, where)

    @property
    def learnt(self) -> tuple[str, ...]:
        """The classes of the label as they are known by now; empty where it is no words, or was not yet read."""
        known = self.__dict__.get("classes")
        return known.words if known else self.conf.words

    def names(self) -> list[str]:
        """Names of the windows, in order of time; DataError naming folder and cure if there is none."""
        entries = _listing(self.conf.path, "data.path")
        names = sorted(e.base_name.removesuffix(SUFFIX) for e in entries if _is_window(e))
        if not names:
            cure = f"run `{self.conf.prepare}`" if self.conf.prepare else "set data.path, or put windows there"
            if tables := sum(str(e.base_name).endswith(TABLES) for e in entries):
                cure = f"the {tables} other tables there must be Parquet: pyarrow.parquet.write_table(table, path)"
            raise DataError(self.conf.path, "no windows (*.parquet) there", cure)
        return names

    def windows(self) -> dict[str, str]:
        """Name -> mark of each window file that is there; the mark is its size and time. None is fine here."""
        return _marks(_listing(self.conf.path, "data.path"))

    def label_marks(self) -> dict[str, str] | None:
        """`windows` of the label files; None where labels are a column of the windows."""
        return None if self.conf.labels is None else _marks(_listing(self.conf.labels, "data.labels"))

    def beside(self, ending: str) -> list[str]:
        """The windows beside which a file of that ending lies: `<name><ending>` or `<name>.parquet<ending>`."""
        files = [str(e.base_name) for e in _listing(self.conf.path, "data.path") if e.type == pafs.FileType.File]
        return [name.removesuffix(ending).removesuffix(SUFFIX) for name in files if name.endswith(ending)]

    def read(self, name: str, *, labelled: bool) -> Window:
        """One window; with its label column (null where a row has none) if `labelled`, else without that
        column."""
        names = self.names()
        if name not in names:
            near = difflib.get_close_matches(name, names, 1) or [names[-1]]
            raise DataError(self.conf.path, f"there is no window {name!r}", f"did you mean {near[0]!r}?")
        conf, path = self.conf, posixpath.join(self.conf.path, name + SUFFIX)
        inline = labelled and conf.labels is None
        wanted = {conf.id: "data.id", conf.time: "data.time"}
        wanted |= dict.fromkeys(conf.numeric, "data.numeric")
        wanted |= dict.fromkeys(conf.categories, "data.cluster")
        wanted |= dict.fromkeys(conf.slices, "data.slices") | dict.fromkeys(conf.categorical, "data.categorical")
        raw = _read_columns(path, wanted | ({conf.label: INLINE} if inline else {}))
        if raw.num_rows < MIN_ROWS:
            what = "is empty" if raw.num_rows == 0 else "has one row"
            raise DataError(path, what, f"a window needs at least {MIN_ROWS} rows: widen its interval, or remove it")
        own = ids.id_column(raw[conf.id], f"{path}:{conf.id}")
        columns = {conf.id: ids.keys(own, f"{path}:{conf.id}")}
        described = [ids.key_field(conf.id, own)]
        columns[conf.time] = tables.time_column(raw[conf.time], f"{path}:{conf.time}")
        for column in conf.numeric:
            columns[column] = tables.numeric_column(raw[column], f"{path}:{column}")
        for column in conf.categories:
            columns[column] = tables.categorical_column(raw[column], f"{path}:{column}")
        if labelled:
            field, columns[conf.label] = self._label(raw[conf.label], path, name) if inline else self._joined(name, own)
            described.append(field)
        table = _table(columns, described).combine_chunks()
        return Window(
            name=name,
            index=names.index(name),
            table=table,
            fingerprint=tables.fingerprint(table),
            path=path,
            labelled=labelled,
        )

    def labels(self, name: str) -> pa.Table:
        """Ids and labels of one window as its files hold them now, null where a row has none: what `read` gives,
        without the other columns."""
        conf, path = self.conf, posixpath.join(self.conf.path, name + SUFFIX)
        inline = conf.labels is None
        raw = _read_columns(path, {conf.id: "data.id"} | ({conf.label: "data.label"} if inline else {}))
        own = ids.id_column(raw[conf.id], f"{path}:{conf.id}")
        field, label = self._label(raw[conf.label], path, name) if inline else self._joined(name, own)
        columns = {conf.id: ids.keys(own, f"{path}:{conf.id}"), conf.label: label}
        return _table(columns, [ids.key_field(conf.id, own), field])

    def _labels_path(self, name: str) -> str:
        return posixpath.join(self.conf.path if self.conf.labels is None else self.conf.labels, name + SUFFIX)

    def _label(self, column: pa.ChunkedArray, path: str, name: str) -> tuple[pa.Field, pa.ChunkedArray]:
        """Codes or numbers of a window's label, and their field, which names the classes where they are words."""
        conf, where, metadata = self.conf, f"{path}:{self.conf.label}", None
        listed = conf.words or conf.positive is not None
        try:
            if conf.kind is not Task.REGRESSION and (listed or classes.are_words(column.type)):
                label, metadata = self.classes.codes(column, where), fields.named(self.classes.words)
            else:
                label = tables.label_column(column, conf.kind, conf.n_classes, where)
        except ClassError as error:
            raise ClassError(error.where, error.what, error.cure, name) from None
        if label.null_count == len(label):
            raise LabelsError(where, "no row has a label", "wait for the labels, or raise data.label_lag")
        return pa.field(conf.label, label.type, metadata=metadata), label

    def _joined(self, name: str, own: pa.ChunkedArray) -> tuple[pa.Field, pa.ChunkedArray]:
        """`_label` of the rows with these canonical ids, in their order, from the label file."""
        conf, path = self.conf, self._labels_path(name)
        raw = _read_columns(path, {conf.id: "data.id", conf.label: "data.label"})
        where = f"{path}:{conf.id}"
        label_ids = ids.id_column(raw[conf.id], where)
        ids.check_kind(label_ids.type == ids.TEXT, own.type == ids.TEXT, where, name)
        at = ids.places(own, label_ids, where)
        field, labels = self._label(raw[conf.label], path, name)
        if at.null_count == len(at):
            raise DataError(where, f"no id is in window {name}", "make data.labels the labels of data.path")
        return field, labels.take(at)


def served(path: str, conf: DataConf) -> pa.Table:
    """What serving saw: its ids, and those features that it kept, in the types of a window.

    A local file of any format that `open_table` reads, or a Parquet file by URI. DataError where it cannot be read, has
    no ids, or a column of another kind.
    """
    raw = open_table(path) if "://" not in path else _read_columns(path, None)
    if conf.id not in raw.column_names:
        raise DataError(f"{path}:{conf.id}", "there is no such column", "rows of serving are paired by data.id")
    own = ids.id_column(raw[conf.id], f"{path}:{conf.id}")
    columns = {conf.id: ids.keys(own, f"{path}:{conf.id}")}
    for read, names in ((tables.numeric_column, conf.numeric), (tables.categorical_column, conf.categorical)):
        columns |= {name: read(raw[name], f"{path}:{name}") for name in names if name in raw.column_names}
    return _table(columns, [ids.key_field(conf.id, own)])


def _table(columns: dict[str, pa.ChunkedArray], described: list[pa.Field]) -> pa.Table:
    """A table of these columns; the fields say of some what no type says."""
    table = pa.table(columns)
    for field in described:
        table = table.set_column(table.column_names.index(field.name), field, table[field.name])
    return table


def _read_columns(path: str, wanted: dict[str, str] | None) -> pa.Table:
    """The wanted columns (column -> the config key that wants it; None: all) of one Parquet file."""
    filesystem, file = _open(path)
    check_regular(path, "write it, or set data.labels / data.path")
    try:
        with filesystem.open_input_file(file) as stream:
            parquet = pq.ParquetFile(stream, page_checksum_verification=True)  # where the writer left checksums
            if wanted is None:
                return parquet.read()
            _check_present(path, parquet.schema_arrow.names, wanted)
            return parquet.read(columns=list(wanted))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(path, "there is no such file", "write it, or set data.labels / data.path") from None
    except PermissionError:
        raise DataError(path, "may not be read", "give this user the right to read it") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(path, f"is not a whole Parquet file ({_reason(error)})", "write it again") from None


def _check_present(path: str, there: list[str], wanted: dict[str, str]) -> None:
    for column, key in wanted.items():
        if there.count(column) > 1:
            raise DataError(f"{path}:{column}", "two columns have this name", "rename one")
        if column not in there:
            near = difflib.get_close_matches(column, there, 1)
            cure = f"did you mean {near[0]!r}? Add the column" if near else "add the column"
            raise DataError(f"{path}:{column}", "there is no such column", f"{cure}, or change {key}")


def _open(path: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in path:
        return pafs.LocalFileSystem(), path
    return places.filesystem(path, "use a folder or a URI such as s3://")


def _listing(folder: str, key: str) -> list[pafs.FileInfo]:
    """What lies in a folder; nothing where there is none."""
    filesystem, inner = _open(folder)
    try:
        entries: list[pafs.FileInfo] = filesystem.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(folder, f"cannot be listed ({_reason(error)})", f"set {key}") from None
    return entries


def _marks(entries: list[pafs.FileInfo]) -> dict[str, str]:
    return {e.base_name.removesuffix(SUFFIX): f"{e.size} {e.mtime_ns}" for e in entries if _is_window(e)}


def _is_window(entry: pafs.FileInfo) -> bool:
    name = str(entry.base_name)
    whole = not name.removesuffix(SUFFIX).endswith(UNFINISHED) and not name.startswith((".", "_"))
    return entry.type == pafs.FileType.File and name.endswith(SUFFIX) and whole


def _reason(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:120]
