"""Files of products for a push: CSV, a JSON array, or one JSON object per line. Pure, and read row by row.

Each row becomes a body of POST /products. A CSV file comes from a spreadsheet, which changes what looks like a number
or a date: a row with a value that it may have changed has a problem. JSON states its types, and is taken as it is.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, NoReturn

from flexportd.core.outbox.validation.problems import shown
from flexportd.core.outbox.validation.vocabulary import COUNTRIES, REGIONS
from flexportd.errors import InvalidError
from flexportd.escape import closest_match
from flexportd.json_depth import nests_too_deep

FileFormat = Literal["csv", "json", "ndjson"]

FORMATS: Mapping[str, FileFormat] = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson",
}  # fmt: skip
"""The format of a file by the end of its name."""

MAX_FILE_SIZE = 256 * 2**20  # bytes
MAX_LINE_LENGTH = 2**20  # bytes of a line, and of an object of a JSON array
MAX_ROW_SIZE = 256 * 2**10  # bytes of a row as JSON
MAX_ROWS = 200_000

_TEXT_COLUMNS = ("sku", "name", "description", "product_category", "country_of_origin")
_COLUMNS = (*_TEXT_COLUMNS, "client_verified", "suppliers", "hs_code:REGION", "property:TYPE")
_GUESSES = (*_COLUMNS[:-2], "hs_code:US", "hs_code:EU", "property:material")
_COLUMN_HELP = f"known columns are {', '.join(_COLUMNS)}, such as hs_code:US and property:material"

_DELIMITERS = ",;\t"
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # Excel reads it, and shows it as no row
_FOREIGN = {
    b"PK\x03\x04": "a workbook or another zip archive", b"\xd0\xcf\x11\xe0": "a workbook of an old version of Excel",
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16",
}  # fmt: skip
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAVE_AS = 'save it as "CSV UTF-8"'
_CR_ALONE = f'a line ends with CR alone, as in "CSV (Macintosh)"; {_SAVE_AS}'
_CHUNK = 64 * 2**10
_MAX_LISTED = 5  # rows that a message names
_BLANKS = " \t\r\n"  # of JSON

_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXT_FORMULA = re.compile(r'="((?:[^"]|"")*)"')  # `="0101"` keeps a text that looks like a number
_ERROR_VALUE = re.compile(r"#(?:N/A|REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|#+)")
_SCIENTIFIC = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}")
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = re.compile(
    rf"[0-9]{{1,2}}([/.])[0-9]{{1,2}}\1(?:[0-9]{{2}}|[0-9]{{4}})|[0-9]{{4}}[-/][0-9]{{1,2}}[-/][0-9]{{1,2}}(?:[ T].*)?"
    rf"|[0-9]{{1,2}}-{_MONTH}(?:-[0-9]{{2,4}})?|{_MONTH}-[0-9]{{2}}"
)
_DECIMAL_COMMA = re.compile(r"[0-9]{1,30},[0-9]{1,30}")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

# National codes are pairs of digits added to the six of the harmonised system, but for these.
_ODD_LENGTHS = {"JP": (9,), "TW": (11,), "TH": (11,), "CN": (13,)}


@dataclass(frozen=True, slots=True)
class ProductRow:
    """One row. `number` counts as a spreadsheet does, with the header as 1; in JSON it is the line, or the place.

    `body` is None if there are problems; `size` is its length as JSON.
    """

    number: int
    sku: str | None
    body: Mapping[str, Any] | None = None
    problems: Sequence[str] = ()
    size: int = 0


def visible_text(text: str) -> str:
    """What a person sees of a text: composed, without invisible characters, and with ordinary spaces."""
    if text.isascii():
        return text
    shown_characters = (char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) != "Cf")
    return "".join(" " if char.isspace() else char for char in shown_characters).strip()


class ProductFile:
    """The rows of a file, which must be open for seeking. Raises InvalidError for what is wrong with it as a whole."""

    def __init__(self, stream: BinaryIO, file_format: FileFormat) -> None:
        """Reads the file once, for `count` and for SKUs that several rows have."""
        self._stream = stream
        self._read = _READERS[file_format]
        self._start = _check_beginning(stream)
        self.count = 0
        first: dict[str, int] = {}
        self._repeated: dict[str, list[int]] = {}
        for row in self._parse():
            self.count += 1
            if self.count > MAX_ROWS:
                raise InvalidError(f"the file has more than {MAX_ROWS:,} rows; divide it into several files")
            if row.sku is None:
                continue
            seen = visible_text(row.sku)
            if first.setdefault(seen, row.number) != row.number:
                self._repeated.setdefault(seen, [first[seen]]).append(row.number)
        if not self.count:
            raise InvalidError("the file has no rows of products")

    def rows(self) -> Iterator[ProductRow]:
        """All rows, in order, one at a time. Raises InvalidError if the file has changed and is wrong now."""
        for row in self._parse():
            numbers = self._repeated.get(visible_text(row.sku or ""))
            if numbers is None:
                yield row
            else:
                listed = ", ".join(map(str, numbers[:_MAX_LISTED])) + (", …" if len(numbers) > _MAX_LISTED else "")
                problem = f"the SKU {shown(row.sku)} is in rows {listed}; one row per SKU is allowed"
                yield ProductRow(row.number, row.sku, None, (problem, *row.problems))

    def _parse(self) -> Iterator[ProductRow]:
        self._stream.seek(self._start)
        return self._read(self._stream)


def _check_beginning(stream: BinaryIO) -> int:
    """Where the rows begin. Raises InvalidError for an empty file, a large one, and one that is no text."""
    size = stream.seek(0, 2)
    if size > MAX_FILE_SIZE:
        raise InvalidError(f"the file has {size:,} bytes; {MAX_FILE_SIZE:,} are allowed, so divide it")
    stream.seek(0)
    head = stream.read(4)
    for signature, what in _FOREIGN.items():
        if head.startswith(signature):
            raise InvalidError(f"the file is {what}; {_SAVE_AS}")
    start = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
    if size <= start:
        raise InvalidError("the file is empty")
    return start


def _lines(stream: BinaryIO) -> Iterator[str]:
    """The lines; bytes that are not UTF-8 become lone surrogates."""
    number = 0
    while line := stream.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(line) > MAX_LINE_LENGTH:
            hint = f": {_CR_ALONE}" if b"\r" in line[:-1] else ""
            raise InvalidError(f"line {number} has more than {MAX_LINE_LENGTH:,} bytes{hint}")
        yield line.decode("utf-8", "surrogateescape")


# --- CSV ---

Cell = Callable[[str, dict[str, Any]], str | None]
"""Puts the value of a cell into a body; what is wrong with it, or None."""


def _read_csv(stream: BinaryIO) -> Iterator[ProductRow]:
    number = 1
    try:
        lines = _lines(stream)
        line = next(lines)
        separator = _SEPARATOR_LINE.fullmatch(line)
        if separator is not None:
            line = next(lines, "")
        while line and not line.strip(f"{_BLANKS}{_DELIMITERS}"):
            number, line = number + 1, next(lines, "")
        if not line:
            raise InvalidError("the file has no header: its first row must name the columns, such as sku")
        line = _whole_header(line, lines)
        if separator is not None and separator[1] in _DELIMITERS:
            delimiter = separator[1]
        else:
            delimiter = max(_DELIMITERS, key=lambda one: len(_split(line, one)))
        columns = _columns(_split(line, delimiter), number)
        for cells in csv.reader(lines, delimiter=delimiter, strict=True):
            number += 1
            if any(cell.strip() for cell in cells):
                yield _csv_row(number, cells, columns)
    except csv.Error as error:
        if "new-line character" in str(error):
            raise InvalidError(f"row {number + 1} is no valid CSV: {_CR_ALONE}") from None
        raise InvalidError(f"row {number + 1} is no valid CSV ({error}); check its quotation marks") from None


def _whole_header(line: str, lines: Iterator[str]) -> str:
    """The header in one line: its first line, and those that follow while a quotation mark is open."""
    parts, size = [line], len(line)
    is_open = line.count('"') % 2 == 1
    while is_open and size <= MAX_LINE_LENGTH and (following := next(lines, "")):
        parts.append(following)
        size += len(following)
        is_open ^= following.count('"') % 2 == 1
    if is_open:
        raise InvalidError("the header has a quotation mark without a second one; check its quotation marks")
    return " ".join(part.rstrip("\r\n") for part in parts)


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _columns(names: Sequence[str], number: int) -> list[tuple[str, Cell | None]]:
    """The columns, those without a name with None. Raises InvalidError with all that is wrong with the header."""
    columns: list[tuple[str, Cell | None]] = []
    wrong: list[str] = []
    for place, text in enumerate(names, 1):
        name = _cell_text(text)
        label, _, detail = name.partition(":")
        label, detail = label.strip().casefold(), detail.strip()
        name = f"{label}:{detail.upper() if label == 'hs_code' else detail}" if detail else label
        cell = _cell_of(label, detail)
        problem = _encoding_problem(text)
        if problem is not None:
            wrong.append(f"the name of column {place} {problem}")
        elif name and cell is None:
            wrong.append(_unknown_column(place, text.strip(), label))
        elif label == "hs_code" and detail.upper() not in REGIONS:
            wrong.append(f"column {place} is {shown(text)}; REGION is a country code of two letters, or EU")
        elif name and any(name == other for other, _ in columns):
            wrong.append(f"column {place} is {shown(name)} once more; each column may be there once")
        columns.append((name, cell))
    if wrong:
        raise InvalidError(f"row {number}, the header: {'; '.join(wrong[:_MAX_LISTED])}. {_capital(_COLUMN_HELP)}")
    if not any(name == "sku" for name, _ in columns):
        raise InvalidError(f"row {number}, the header, has no column sku, which says which product a row is about")
    return columns


def _unknown_column(place: int, text: str, label: str) -> str:
    near = closest_match(text, _GUESSES) or ("hs_code:US" if label.startswith(("hs", "hts")) else None)
    return f"column {place} is {shown(text)}, which is unknown" + (f"; did you mean {near}?" if near else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cell_of(label: str, detail: str) -> Cell | None:
    if label == "hs_code" and detail:
        return lambda value, body: _put_hs_codes(value, body, detail.upper())
    if label == "property" and detail:
        return lambda value, body: body.setdefault("product_properties", []).append({"type": detail, "value": value})
    return None if detail else _CELLS.get(label)


def _csv_row(number: int, cells: Sequence[str], columns: Sequence[tuple[str, Cell | None]]) -> ProductRow:
    body: dict[str, Any] = {}
    problems: list[str] = []
    for place, text in enumerate(cells):
        value = _cell_text(text)
        if not value:
            continue  # an empty cell leaves the field as it is
        name, put = columns[place] if place < len(columns) else ("", None)
        if put is None:
            problem: str | None = f"the cell in column {place + 1} is {shown(value)}, but the column has no name"
        else:
            wrong = _cell_problem(value) or put(value, body)
            problem = None if wrong is None else f"{name} {wrong}"
        if problem is not None:
            problems.append(problem)
    return _row(number, body, problems)


def _cell_text(text: str) -> str:
    """The value of a cell without blanks around it and without what keeps it from being a number or a formula."""
    text = text.strip()
    formula = _TEXT_FORMULA.fullmatch(text)
    if formula is not None:
        return formula[1].replace('""', '"').strip()
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text  # as our own CSV has it


def _cell_problem(value: str) -> str | None:
    if (problem := _encoding_problem(value)) is not None:
        return problem
    if _ERROR_VALUE.fullmatch(value):
        return f"is {shown(value)}, an error of the spreadsheet"
    return f"is {shown(value)}, a formula; save the values" if value.startswith("=") else None


def _encoding_problem(text: str) -> str | None:
    if _SURROGATE.search(text):
        return f"is not valid UTF-8; {_SAVE_AS}"
    return "contains a NUL byte" if "\0" in text else None


def _spoilt_code(value: str) -> str | None:
    """What a spreadsheet has made of a code; None if it seems unchanged."""
    if _SCIENTIFIC.fullmatch(value):
        return f"is {shown(value)}, a shortened number; format the column as text, and enter the code again"
    if _DATE.fullmatch(value):
        return f"is {shown(value)}, a date; format the column as text, and enter the code again"
    return None


def _put_sku(value: str, body: dict[str, Any]) -> str | None:
    body["sku"] = value
    invisible = next((char for char in value if unicodedata.category(char) == "Cf"), None)
    if invisible is not None:
        return f"is {shown(value)}, with the invisible character U+{ord(invisible):04X}; remove it"
    return _spoilt_code(value)


def _put_text(name: str) -> Cell:
    return lambda value, body: body.__setitem__(name, value)


def _put_client_verified(value: str, body: dict[str, Any]) -> str | None:
    truth = _TRUTH.get(value.casefold())
    if truth is None:
        return f"is {shown(value)}; true or false is allowed"
    body["client_verified"] = truth
    return None


def _put_suppliers(value: str, body: dict[str, Any]) -> str | None:
    for part in value.split("|"):
        ref, _, country = (one.strip() for one in part.rpartition(":"))
        if not ref or country.upper() not in COUNTRIES:
            return f"has {shown(part.strip())}; REF:COUNTRY with a country code of two letters is allowed"
        body.setdefault("suppliers", []).append({"ref": ref, "country_of_origin": country.upper()})
    return None


def _put_hs_codes(value: str, body: dict[str, Any], region: str) -> str | None:
    codes = [code.strip().removeprefix("'") for code in value.split("|")]
    for code in codes:
        if (problem := _hs_problem(code, region)) is not None:
            return problem
    body.setdefault("classifications", []).append({"region": region, "codes": codes})
    return None


def _hs_problem(code: str, region: str) -> str | None:
    digits = sum(map(str.isdigit, code))
    if (spoilt := _spoilt_code(code)) is not None:
        return spoilt
    if _DECIMAL_COMMA.fullmatch(code):
        return f"is {shown(code)}, with a comma; write dots in a code such as 9405.42, and | between two codes"
    if digits % 2 == 0 or digits in _ODD_LENGTHS.get(region, ()):
        return None
    if "." in code:
        return f"is {shown(code)}, of {digits} digits: a zero at its beginning or its end seems lost; format it as text"
    return (
        f"is {shown(code)}, of {digits} digits: a zero at its beginning seems lost; if it is {shown('0' + code)}, "
        "format the column as text and enter it so"
    )


_CELLS: Mapping[str, Cell] = {
    **{name: _put_text(name) for name in _TEXT_COLUMNS},
    "sku": _put_sku,
    "client_verified": _put_client_verified,
    "suppliers": _put_suppliers,
}


# --- JSON ---


def _read_ndjson(stream: BinaryIO) -> Iterator[ProductRow]:
    for number, line in enumerate(_lines(stream), 1):
        if line.strip():
            yield _ndjson_row(number, line)


def _ndjson_row(number: int, line: str) -> ProductRow:
    problem = _encoding_problem(line)
    if problem is not None:
        return ProductRow(number, None, problems=(f"the line {problem}",))
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError, InvalidError) as error:
        return ProductRow(number, None, problems=(f"the line is no valid JSON: {error}",))
    if not isinstance(value, dict):
        return ProductRow(number, None, problems=(f"the line is {shown(value)}; a JSON object is allowed",))
    return _row(number, value, [])


def _read_json(stream: BinaryIO) -> Iterator[ProductRow]:
    array = _JsonArray(stream)
    if array.next_char() != "[":
        raise InvalidError("the file must be a JSON array of objects: it does not begin with [")
    array.skip()
    if array.next_char() == "]":
        array.skip()
    else:
        body = array.next_object()
        yield _row(array.count, body, [])
        while array.next_char() == ",":
            array.skip()
            body = array.next_object()
            yield _row(array.count, body, [])
        if array.next_char() != "]":
            raise InvalidError(f"a comma or ] is missing after object {array.count} of the JSON array")
        array.skip()
    if array.next_char():
        raise InvalidError("something follows after the JSON array")


class _JsonArray:
    """The objects of a JSON array, read in pieces; `count` is that of the objects so far."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._text, self._at, self._rest = "", 0, b""
        self.count = 0

    def next_char(self) -> str:
        """The next character that is not blank, without taking it; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANKS:
                    return self._text[self._at]
                self._at += 1
            if not self._fill():
                return ""

    def skip(self) -> None:
        """Take the next character."""
        self._at += 1

    def next_object(self) -> dict[str, Any]:
        """Take an object. Raises InvalidError."""
        self.count += 1
        if self.next_char() != "{":
            raise InvalidError(f"object {self.count} of the JSON array is no object")
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:  # perhaps only its beginning has been read
                if len(self._text) - self._at > MAX_LINE_LENGTH:
                    raise InvalidError(f"object {self.count} is too large, or no valid JSON: {error.msg}") from None
                if not self._fill():
                    raise InvalidError(f"object {self.count} is no valid JSON: {error.msg}") from None
            except (ValueError, RecursionError, InvalidError) as error:
                raise InvalidError(f"object {self.count} is no valid JSON: {error}") from None
            else:
                found: dict[str, Any] = value
                return found

    def _fill(self) -> bool:
        """Read a piece; False at the end of the file."""
        piece = self._stream.read(_CHUNK)
        whole = self._rest + piece
        if not whole:
            return False
        try:
            text, self._rest = whole.decode(), b""
        except UnicodeDecodeError as error:
            if not piece or error.end < len(whole) or error.reason != "unexpected end of data":
                raise InvalidError(f"what follows object {self.count} is not valid UTF-8") from None
            text, self._rest = whole[: error.start].decode(), whole[error.start :]
        self._text, self._at = self._text[self._at :] + text, 0
        return True


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidError(f"{name} is no number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _row(number: int, body: Mapping[str, Any], problems: list[str]) -> ProductRow:
    sku = body.get("sku")
    name = sku.strip() if isinstance(sku, str) else None
    if not problems and not name:
        problems.append("sku is missing" if sku in (None, "") else f"sku is {shown(sku)}; a text is allowed")
    size = 0
    if not problems:
        try:
            text = json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            problems.append("has a number that is not finite, or half of a surrogate pair")
        else:
            size = len(text)
            if size > MAX_ROW_SIZE:
                problems.append(f"has {size:,} bytes as JSON; {MAX_ROW_SIZE:,} are allowed")
            elif nests_too_deep(b"[[%b]]" % text):
                problems.append("is nested too deep")
    return ProductRow(number, name or None, None if problems else body, problems, size)


_READERS: Mapping[FileFormat, Callable[[BinaryIO], Iterator[ProductRow]]] = {
    "csv": _read_csv, "json": _read_json, "ndjson": _read_ndjson,
}  # fmt: skip
