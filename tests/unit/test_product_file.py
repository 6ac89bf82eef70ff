"""Files of products: what is read, which values a spreadsheet has spoilt, and that nothing but InvalidError is raised."""

import io
import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flexportd.core.outbox import product_file
from flexportd.core.outbox.product_file import FORMATS, ProductFile, ProductRow
from flexportd.errors import InvalidError


def read(content, file_format="csv") -> list[ProductRow]:
    raw = content if isinstance(content, bytes) else content.encode()
    file = ProductFile(io.BytesIO(raw), file_format)
    rows = list(file.rows())
    assert file.count == len(rows)
    assert all((row.body is None) == bool(row.problems) for row in rows)
    return rows


def bodies(content, file_format="csv"):
    rows = read(content, file_format)
    assert [row.problems for row in rows if row.problems] == []
    return [row.body for row in rows]


def problem(content, file_format="csv"):
    """The only problem of the only row that has one."""
    [row] = [row for row in read(content, file_format) if row.problems]
    [sentence] = row.problems
    return row.number, sentence


FULL = {
    "sku": "LAMP-01",
    "name": "Desk lamp, black",
    "client_verified": True,
    "classifications": [
        {"region": "US", "codes": ["9405.42.8440", "9405.11"]},
        {"region": "EU", "codes": ["0101210010"]},
    ],
    "product_properties": [{"type": "material", "value": 'steel "304"'}],
    "suppliers": [{"ref": "acme:1", "country_of_origin": "CN"}, {"ref": "zoomit", "country_of_origin": "VN"}],
}


@pytest.mark.parametrize(
    "content", ["sku,name\rA,Lamp\rB,Table\r", "sku,name\r" + "A,Lamp\r" * 200_000, "sku,name\nA,Lamp\rB,Table\n"]
)
def test_a_file_whose_lines_end_with_cr_alone_is_to_be_saved_as_another_type(content):
    with pytest.raises(InvalidError, match=r'ends with CR alone, as in "CSV \(Macintosh\)"; save it as "CSV UTF-8"'):
        read(content)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_cells_of_the_header_may_have_several_lines(delimiter):
    header = ['"sku\r\n"', "name", '"hs_code:\nUS"', "country_of_origin"]
    text = "\r\n".join([delimiter.join(header), delimiter.join(["A", "Lamp", "9405.42", "China"])])
    classifications = [{"region": "US", "codes": ["9405.42"]}]
    assert bodies(text) == [
        {"sku": "A", "name": "Lamp", "classifications": classifications, "country_of_origin": "China"}
    ]
    with pytest.raises(InvalidError, match=r"column 2 is .name \(English\)., which is unknown"):
        read('sku,"name\n(English)",country_of_origin\nA,Lamp,China\n')
    with pytest.raises(InvalidError, match="a quotation mark without a second one"):
        read('sku,"name\nA,Lamp\nB,Table\n')


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("beginning", ["", "\ufeff", "sep=DELIM\r\n", "\r\n;;;\r\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_column_is_read_whatever_a_spreadsheet_writes_around_it(delimiter, beginning, end):
    header = [
        "SKU",
        " name ",
        "Client_Verified",
        "hs_code:us",
        "hs_code:EU",
        "property:material",
        "suppliers",
        "description",
    ]
    cells = [
        " LAMP-01 ", '"Desk lamp, black"', "TRUE", "9405.42.8440 | 9405.11", '="0101210010"', '"steel ""304"""',
        "acme:1:cn|zoomit:VN", "",
    ]  # fmt: skip
    lines = [header + [""] * 3, cells + [""] * 3, [""] * 11, [], ["LAMP-02"]]
    text = beginning.replace("DELIM", delimiter) + end.join(delimiter.join(line) for line in lines) + end
    assert bodies(text) == [FULL, {"sku": "LAMP-02"}]
    blank_rows = 2 if ";;;" in beginning else 0
    assert [row.number for row in read(text)] == [2 + blank_rows, 5 + blank_rows]


def test_a_quoted_cell_of_several_lines_is_one_row():
    assert [row.number for row in read('sku,description\nA,"one\ntwo"\nB,x\n')] == [2, 3]


@pytest.mark.parametrize(
    ("header", "cell", "words"),
    [
        ("hs_code:US", "10121", 'hs_code:us is "10121", of 5 digits: a zero at its beginning seems lost; if it is "010121"'),
        ("hs_code:US", "1012100", "of 7 digits"),
        ("hs_code:US", "101210010", '"0101210010"'),
        ("hs_code:US", "9405.42|101210", None),
        ("hs_code:JP", "940542000", None),
        ("hs_code:US", "9405.1", "a zero at its beginning or its end"),
        ("hs_code:US", "9405,42", "with a comma; write dots"),
        ("hs_code:US", "46085", "of 5 digits"),  # a date as a number
        ("hs_code:US", "03/04/2026", "a date; format the column as text"),
        ("hs_code:US", "9,40542E+09", "a shortened number"),
        ("sku", "03/04/2026", "a date"),
        ("sku", "2026-03-04 00:00:00", "a date"),
        ("sku", "4-Mar", "a date"),
        ("sku", "MAR-04", None),
        ("sku", "4.00638E+12", "a shortened number"),
        ("sku", "0101", None),
        ("name", "03/04/2026", None),
        ("name", "#REF!", "an error of the spreadsheet"),
        ("name", "=A1&B1", "a formula"),
        ("name", "a\0b", "NUL"),
        ("client_verified", "perhaps", '"perhaps"; true or false is allowed'),
        ("suppliers", "acme", '"acme"; REF:COUNTRY'),
        ("suppliers", "acme:China", "REF:COUNTRY"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_a_problem_of_its_row(header, cell, words):
    text = f"sku;{header}\nA;\nB;{cell}\n" if header != "sku" else f"sku;name\nA;\n{cell};\n"
    if words is None:
        bodies(text)
    else:
        number, sentence = problem(text)
        assert number == 3
        assert words.casefold() in sentence.casefold()


def test_other_problems_of_rows():
    assert problem("sku,name\nA,b\n,c\n") == (3, "sku is missing")
    assert problem("sku,name\nA,b,,x\n") == (2, 'the cell in column 4 is "x", but the column has no name')
    assert problem(b"sku,name\nA,b\nB,\xe9t\xe9\n")[1] == 'name is not valid UTF-8; save it as "CSV UTF-8"'
    rows = read("sku,name\nA,b\nB,c\nA,d\nA ,e\n")
    assert [row.number for row in rows if row.problems] == [2, 4, 5]
    assert rows[3].problems == ('the SKU "A" is in rows 2, 4, 5; one row per SKU is allowed',)


def test_skus_that_look_the_same_are_no_two_products():
    rows = read("sku,name\nCAF\u00c9,a\nCAFE\u0301,b\nC D,c\nC\u00a0D,d\nC  D,e\n")
    assert [row.number for row in rows if row.problems] == [2, 3, 4, 5]
    assert rows[1].problems == ('the SKU "CAFE\u0301" is in rows 2, 3; one row per SKU is allowed',)
    assert problem("sku,name\nA\u200b1,a\n")[1] == (
        'sku is "A\\u200b1", with the invisible character U+200B; remove it'
    )
    lines = "\n".join(json.dumps({"sku": sku, "name": "a"}) for sku in ("A\u200b1", "A1", "A\u200b2"))
    assert [row.number for row in read(lines, "ndjson") if row.problems] == [1, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\n\n;;\n", "no header"),
        (b"sep=;\n", "no header"),
        (b"sku,name\n", "no rows of products"),
        (b"name,description\na,b\n", "no column sku"),
        (b"sku,nmae\nA,b\n", 'column 2 is "nmae", which is unknown; did you mean name?'),
        (b"sku,nmae\nA,b\n", "Known columns are sku, name, description"),
        (b"sku,HTS code\nA,b\n", "did you mean hs_code:US?"),
        (b"sku,colour\nA,b\n", 'column 2 is "colour", which is unknown. Known'),
        (b"sku,hs_code:USA\nA,b\n", "REGION is a country code of two letters, or EU"),
        (b"sku,name,Name\nA,b,c\n", 'column 3 is "name" once more'),
        (b"sku,x,y\nA,b,c\n", '"x", which is unknown; column 3 is "y"'),
        (b"sku,n\0\nA,b\n", "NUL"),
        (b'sku,name\nA,"b\n', "row 2 is no valid CSV"),
        (b'sku,name\nA,b\nB,"b"c\n', "row 3 is no valid CSV"),
        (b"sku\rA\rB\n", "is no valid CSV"),
        (b"PK\x03\x04rest", "the file is a workbook"),
        ("sku,name\nA,b\n".encode("utf-16"), "the file is UTF-16"),
        (b"sku,name\nA," + b"b" * product_file.MAX_LINE_LENGTH + b"\n", "line 2 has more than 1,048,576 bytes"),
    ],
)
def test_what_is_wrong_with_a_whole_csv_file(content, words):
    with pytest.raises(InvalidError) as caught:
        read(content)
    assert words in str(caught.value)


def test_json_is_taken_as_it_is():
    rows = [{"sku": "A", "classifications": [{"region": "US", "codes": ["101210010"]}]}, {"sku": "Bé", "name": None}]
    for text in (
        json.dumps(rows),
        json.dumps(rows, indent=2, ensure_ascii=False),
        " [ {}, ".replace("{}", json.dumps(rows[0])) + json.dumps(rows[1]) + " ] ",
    ):
        assert bodies(text, "json") == rows
    lines = "\n\n".join(json.dumps(row) for row in rows)
    assert bodies(lines, "ndjson") == rows
    assert [row.number for row in read(lines, "ndjson")] == [1, 3]


def test_a_json_array_is_read_across_its_pieces(monkeypatch):
    rows = [{"sku": f"é{'x' * place}"} for place in range(40)]
    monkeypatch.setattr(product_file, "_CHUNK", 7)
    assert bodies(json.dumps(rows, ensure_ascii=False), "json") == rows


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "no rows"),
        ('{"sku": "A"}', "it does not begin with ["),
        ('[{"sku": "A"}', "a comma or ] is missing after object 1"),
        ('[{"sku": "A"}, 3]', "object 2 of the JSON array is no object"),
        ('[{"sku": "A"}, {"sku": ', "object 2 is no valid JSON"),
        ('[{"sku": NaN}]', "NaN is no number"),
        ('[{"sku": ' + "9" * 5000 + "}]", "object 1 is no valid JSON"),
        ('[{"sku": ' + "[" * 200_000, "no valid JSON"),
        ('[{"sku": "A"}] x', "something follows"),
        ('[{"sku": "A"},]', "object 2 of the JSON array is no object"),
    ],
)
def test_what_is_wrong_with_a_json_array(content, words):
    with pytest.raises(InvalidError) as caught:
        read(content, "json")
    assert words in str(caught.value)
    with pytest.raises(InvalidError, match="not valid UTF-8"):
        read(b'[{"sku": "\xe9"}]', "json")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "no valid JSON"), ("3", "a JSON object is allowed"), ('{"sku": 7}', "sku is 7; a text is allowed"),
        ('{"sku": NaN}', "NaN"), ('{"sku": "a", "x": 1e999}', "not finite"), ('{"sku": "\\ud800"}', "surrogate"),
        ('{"sku": "a", "x": ' + "[" * 150 + "]" * 150 + "}", "nested too deep"),
        ('{"sku": "a", "x": "' + "y" * product_file.MAX_ROW_SIZE + '"}', "262,144 are allowed"),
        (b'{"sku": "\xe9"}', "not valid UTF-8"), ("{}", "sku is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_line_of_json(line, words):
    raw = line if isinstance(line, bytes) else line.encode()
    number, sentence = problem(b'{"sku": "A"}\n' + raw + b"\n", "ndjson")
    assert number == 2
    assert words in sentence


PIECES = st.sampled_from(
    ["sku", "name", "hs_code:US", ",", ";", "\t", "\n", "\r", '"', "=", "0101", "\ufeff", "sep=;\n", "[", "]", "{", "}",
     '{"sku": "a"}', ":", "\0", "é", "|", "'", "1e999", "acme:CN", "\ud800"]
)  # fmt: skip
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.lists(PIECES, max_size=30).map(lambda pieces: "".join(pieces).encode("utf-8", "surrogatepass")),
    st.lists(st.text(max_size=8), max_size=10).map(
        lambda cells: b"sku,name\n" + ",".join(cells).encode("utf-8", "surrogatepass")
    ),
)


@given(CONTENTS, st.sampled_from(sorted(set(FORMATS.values()))))
@example(b"sku\n" + "²".encode() + b"\n", "csv")
def test_nothing_but_invalid_error_is_raised(content, file_format):
    try:
        rows = read(content, file_format)
    except InvalidError:
        pass
    else:
        assert rows
        json.dumps([row.body for row in rows], allow_nan=False, ensure_ascii=False).encode()


def test_many_rows_take_little_memory(tmp_path):
    path = tmp_path / "many.csv"
    with path.open("w") as file:
        file.write("sku,name,hs_code:US\n")
        file.writelines(f"SKU-{number},Product {number},9405.42.{number % 90 + 10}\n" for number in range(10_000))
    with path.open("rb") as stream:
        products = ProductFile(stream, "csv")
        assert products.count == 10_000
        tracemalloc.start()
        try:
            assert sum(not row.problems for row in products.rows()) == 10_000
            assert tracemalloc.get_traced_memory()[1] < 2**19
        finally:
            tracemalloc.stop()


def test_too_many_rows_and_bytes(monkeypatch):
    monkeypatch.setattr(product_file, "MAX_ROWS", 2)
    with pytest.raises(InvalidError, match="more than 2 rows"):
        read("sku\nA\nB\nC\n")
    monkeypatch.setattr(product_file, "MAX_FILE_SIZE", 5)
    with pytest.raises(InvalidError, match="10 bytes; 5 are allowed"):
        read("sku\nA\nB\nC\n")
