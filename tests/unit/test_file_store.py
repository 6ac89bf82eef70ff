"""The archive's folder, what files are called and refused for, the rows of files, the zip: each by itself."""

import csv
import hashlib
import io
import json
import os
import sqlite3
import stat
import threading
import zipfile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.documents.file_types import FileNames, file_name, media_type, reject_reason, safe_type
from flexportd.core.documents.requests import ArchiveRules, RequestOptions, next_attempt_at, request_files
from flexportd.core.documents.zip_export import zip_stream
from flexportd.core.resources import documents
from flexportd.escape import csv_cell
from flexportd.expose.streamed_response import attachment
from flexportd.storage import migrate
from flexportd.storage.file_store import Archive
from flexportd.storage.repositories.document_files import DeclaredFile, FetchedFile, FetchFailure
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

PDF = b"%PDF-1.4\nan invoice\n%%EOF\n"
AT, LATER = "2026-03-04T12:00:00.000Z", "2026-03-05T12:00:00.000Z"


def sha(content):
    return hashlib.sha256(content).hexdigest()


def keep(archive, content):
    incoming = archive.begin()
    incoming.write(content)
    return incoming.commit()


def document(key="doc-1", **fields):
    known = {
        "shipment_id": 7,
        "document_type": "commercial_invoice",
        "file_name": None,
        "memo": None,
        "size": len(PDF),
        "uploaded_at": AT,
        "archived_at": None,
    }
    return Record(key, {**known, **fields}, "{}", AT, 1, "sync", AT, AT)


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


@pytest.fixture
def tx(tmp_path):
    migrate.migrate(tmp_path / "flexportd.db")
    raw = sqlite3.connect(tmp_path / "flexportd.db", isolation_level=None)
    yield Transaction(raw)
    raw.close()


# --- the folder ---


def test_a_file_lies_under_its_sum_readable_by_its_owner_alone(archive):
    kept = keep(archive, PDF)

    assert (kept.sha256, kept.size) == (sha(PDF), len(PDF))
    place = archive.path / kept.sha256[:2] / kept.sha256
    assert place.read_bytes() == PDF
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for folder in (place.parent, archive.path, archive.path / "incoming"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((archive.path / "incoming").iterdir()) == []


def test_what_is_there_already_is_not_written_again(archive):
    place = archive.path_of(keep(archive, PDF).sha256)
    before = place.stat()

    keep(archive, PDF)

    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list((archive.path / "incoming").iterdir()) == []


def test_what_lies_there_cut_short_is_set_aside_and_not_lost(archive):
    place = archive.path_of(keep(archive, PDF).sha256)
    place.write_bytes(b"short")

    keep(archive, PDF)

    assert place.read_bytes() == PDF
    assert (place.parent / f"{place.name}.damaged-1").read_bytes() == b"short"


def test_nothing_half_stays_of_what_is_given_up(archive):
    incoming = archive.begin()
    incoming.write(PDF)
    incoming.discard()
    incoming.discard()
    incoming.write(b"late")  # from a thread that did not know yet

    assert archive.folders() == []
    assert list((archive.path / "incoming").iterdir()) == []


def test_giving_up_waits_for_a_write_that_still_runs(archive, monkeypatch):
    incoming, begun, go_on = archive.begin(), threading.Event(), threading.Event()
    incoming.write(b"%PDF")
    file = incoming._file

    class Slow:
        def write(self, chunk):
            begun.set()
            go_on.wait(10)
            return file.write(chunk)

        def close(self):
            file.close()

    incoming._file = Slow()
    writing = threading.Thread(target=incoming.write, args=(b"more",))
    writing.start()
    assert begun.wait(10)
    discarding = threading.Thread(target=incoming.discard)
    discarding.start()
    go_on.set()
    writing.join()
    discarding.join()

    assert list((archive.path / "incoming").iterdir()) == []
    assert file.closed


def test_what_a_crash_left_is_taken_away_at_the_start(archive):
    incoming = archive.begin()
    incoming.write(PDF)
    os.close(os.dup(0))
    incoming._file.close()  # as the end of the process does

    again = Archive(archive.path.parent)
    assert again.remove_incomplete() == 1
    assert again.remove_incomplete() == 0
    keep(again, PDF)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "AB" * 32, "a" * 63, "g" * 64])
def test_only_sums_name_files(archive, name):
    with pytest.raises(ValueError):
        archive.path_of(name)


def test_a_damaged_file_is_told_from_a_sound_one_and_a_missing_one(archive):
    one, other = keep(archive, PDF), keep(archive, b"other")
    archive.path_of(one.sha256).write_bytes(PDF.upper())

    assert archive.check(one.sha256) == "damaged"
    assert archive.check(other.sha256) == "sound"
    assert archive.check(sha(b"never")) == "missing"
    assert archive.check(other.sha256, stop=lambda: True) is None
    aside = archive.quarantine(one.sha256)
    assert aside.read_bytes() == PDF.upper()
    assert archive.check(one.sha256) == "missing"


def test_a_link_is_no_file_of_the_archive(archive, tmp_path):
    kept = keep(archive, PDF)
    (tmp_path / "elsewhere").write_bytes(PDF)
    archive.path_of(kept.sha256).unlink()
    archive.path_of(kept.sha256).symlink_to(tmp_path / "elsewhere")

    assert archive.open(kept.sha256, kept.size) is None
    assert archive.check(kept.sha256) == "damaged"


def test_what_does_not_belong_is_told_apart(archive):
    kept = keep(archive, PDF)
    folder = kept.sha256[:2]
    (archive.path / folder / f"{kept.sha256}.damaged-3").write_bytes(b"x")
    (archive.path / folder / "notes.txt").write_bytes(b"x")
    (archive.path / "README").write_bytes(b"x")

    found = {path: kind for name in archive.folders() for path, kind in archive.entries(name)}

    assert found == {
        f"{folder}/{kept.sha256}": "file",
        f"{folder}/{kept.sha256}.damaged-3": "aside",
        f"{folder}/notes.txt": "strange",
        "README": "strange",
    }


# --- what files are ---


@pytest.mark.parametrize(
    ("said", "head"),
    [
        ("application/pdf", PDF),
        ("application/pdf", b"\n\n junk \n" + PDF),
        ("application/pdf; charset=binary", PDF),
        ("image/png", b"\x89PNG\r\n\x1a\n..."),
        ("image/jpg", b"\xff\xd8\xff\xe0"),
        ("image/tiff", b"II*\x00"),
        ("application/x-zip-compressed", b"PK\x03\x04"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK\x03\x04"),
        ("text/csv", b"sku,units\r\n"),
        ("text/plain", b"Remarks on <html> and other matters"),
        ("application/x-unheard-of", b"\x00\x01"),
        ("application/vnd.ms-excel", b"\xd0\xcf\x11\xe0"),
        ("", PDF),
    ],
)
def test_good_files_are_taken(said, head):
    assert reject_reason(said, head) is None


@pytest.mark.parametrize(
    ("said", "head", "part"),
    [
        ("application/pdf", b"<!DOCTYPE html><html>", "web page"),
        ("application/pdf", b"\xef\xbb\xbf \n<!-- busy --><html>", "web page"),
        ("application/octet-stream", b'<?xml version="1.0"?>\n<html xmlns="x">', "web page"),
        ("text/plain", b"<html><head>", "web page"),
        ("application/pdf", b"PK\x03\x04", "begins like application/zip"),
        ("image/png", PDF, "begins like application/pdf"),
        ("image/jpeg", b"hello", "begins like nothing"),
        ("application/zip", b"{}", "begins like nothing"),
        ("application/pdf", b"", "empty"),
        ("", b"", "empty"),
    ],
)
def test_what_is_not_the_file_is_refused(said, head, part):
    assert part in reject_reason(said, head)


def test_bytes_without_a_type_are_known_by_their_beginning():
    assert media_type("application/octet-stream", PDF) == "application/pdf"
    assert media_type("binary/octet-stream", b"?") == "application/octet-stream"
    assert media_type("IMAGE/JPG") == "image/jpeg"
    assert safe_type("text/html") == "application/octet-stream"
    assert safe_type("image/svg+xml") == "application/octet-stream"
    assert safe_type("application/pdf") == "application/pdf"


@pytest.mark.parametrize(
    ("given_name", "kind", "name"),
    [
        (None, "application/pdf", "commercial_invoice-AU63XTcrQH-JrTpLIRXW0w.pdf"),
        (None, "application/x-unheard-of", "commercial_invoice-AU63XTcrQH-JrTpLIRXW0w.bin"),
        ("Invoice 17.pdf", "application/pdf", "Invoice 17.pdf"),
        ("scan.jpeg", "image/jpeg", "scan.jpeg"),
        ("Rechnung Käufer.PDF", "application/pdf", "Rechnung Käufer.pdf"),
        ("../../etc/passwd", "text/plain", "etc_passwd.txt"),
        ("invoice.exe", "application/pdf", "invoice.pdf"),
        ("table.ods", "application/octet-stream", "table.ods"),
        ("CON", "application/pdf", "_CON.pdf"),
        ("-rf", "application/pdf", "rf.pdf"),
        ("\u202efdp.exe", "application/octet-stream", "fdp.exe"),
        ("...", "application/pdf", "commercial_invoice-AU63XTcrQH-JrTpLIRXW0w.pdf"),
    ],
)
def test_files_get_readable_names(given_name, kind, name):
    assert file_name("commercial_invoice", "AU63XTcrQH-JrTpLIRXW0w", kind, given_name) == name


any_text = st.text(st.characters(exclude_categories=()), max_size=400)


@given(st.none() | any_text, any_text, any_text, st.none() | any_text)
def test_no_name_is_a_path_or_a_trick(document_type, key, kind, given_name):
    name = file_name(document_type, key, kind, given_name)

    assert 0 < len(name.encode()) <= 200
    assert not set(name) & set('/\\:*?"<>|%')
    assert name.isprintable()
    assert name[0] not in ".-~ "
    assert name[-1] not in ". "
    assert name.partition(".")[0].strip().lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert file_name(document_type, key, kind, name) == name  # a name that was made is left alone
    value = attachment(name)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2


@given(st.lists(st.sampled_from(["a.pdf", "A.pdf", "b.PDF", "a-2.pdf", "ﬁ.pdf", "fi.pdf"]), max_size=12))
def test_no_two_names_are_one_anywhere(names):
    taken = FileNames("index.csv")
    found = [taken.unique(name) for name in names]

    assert len({name.casefold() for name in found}) == len(names)


def test_a_name_that_no_old_program_reads_is_told_in_full_too():
    value = attachment('Käufer "neu".pdf')
    assert value == "attachment; filename=\"K_ufer _neu_.pdf\"; filename*=UTF-8''K%C3%A4ufer%20%22neu%22.pdf"


# --- the rows ---


def fetched(content, **fields):
    told = DeclaredFile(fields.get("size", len(content)), fields.get("uploaded_at", AT))
    from flexportd.storage.file_store import StoredFile

    return FetchedFile(StoredFile(sha(content), len(content)), "application/pdf", "a.pdf", told)


def test_a_new_upload_makes_the_old_file_history(tx):
    tx.files.request("d", DeclaredFile(3, AT), AT, LATER)
    tx.files.record_fetched("d", fetched(b"one"), AT)
    tx.files.request("d", DeclaredFile(5, LATER), LATER, LATER)

    assert [(row.current, row.state, row.sha256) for row in tx.files.of_document("d")] == [
        (1, "pending", None),
        (0, "fetched", sha(b"one")),
    ]

    tx.files.record_fetched("d", fetched(b"three", uploaded_at=LATER), LATER)
    assert [(row.current, row.sha256, row.uploaded_at) for row in tx.files.of_document("d")] == [
        (1, sha(b"three"), LATER),
        (0, sha(b"one"), AT),
    ]
    # And back again: the same content is one row.
    tx.files.request("d", DeclaredFile(3, "2026-03-06"), LATER, LATER)
    tx.files.record_fetched("d", fetched(b"one", uploaded_at="2026-03-06"), "2026-03-06")
    assert [(row.current, row.sha256, row.fetched_at) for row in tx.files.of_document("d")] == [
        (1, sha(b"one"), AT),
        (0, sha(b"three"), LATER),
    ]


def test_a_lost_file_is_wanted_again_and_mended_for_all_who_have_it(tx):
    for key in ("d", "e"):
        tx.files.request(key, DeclaredFile(3, AT), AT, LATER)
        tx.files.record_fetched(key, fetched(b"one"), AT)

    assert sorted(tx.files.mark_bad(sha(b"one"), "missing", "gone from the disk", LATER)) == ["d", "e"]
    row = tx.files.current(["d"])["d"]
    assert (row.state, row.damage, row.is_kept) == ("pending", "missing", False)

    tx.files.record_fetched("d", fetched(b"one"), LATER)
    rows = tx.files.current(["d", "e"])
    assert [(row.state, row.damage, row.error, row.verified_at) for row in rows.values()] == [
        ("fetched", None, None, LATER)
    ] * 2


def test_what_was_only_asked_for_leaves_no_history(tx):
    tx.files.request("d", DeclaredFile(3, AT), AT, LATER)
    tx.files.record_failure("d", FetchFailure("failed", "Flexport is away", LATER), AT)
    tx.files.cancel_request("d")
    assert tx.files.of_document("d") == []


def test_pauses_grow_to_a_week():
    assert next_attempt_at(AT, 1) == "2026-03-04T12:15:00.000Z"
    assert next_attempt_at(AT, 2) == "2026-03-04T13:00:00.000Z"
    assert next_attempt_at(AT, 9) == next_attempt_at(AT, 900) == "2026-03-11T12:00:00.000Z"


def put(tx, *records):
    for number, record in enumerate(records):
        tx.resources.save(documents.TABLE, [(msgspec.structs.replace(record, seq=number), None)])


def test_wishes_keep_to_the_settings_unless_a_person_names_the_document(tx):
    put(tx, document("a"), document("b", document_type="nra"), document("c", size=2000))
    rules = ArchiveRules(archive=True, max_size=1024, types=("commercial_invoice",))

    wished = request_files(tx, rules, ["a", "b", "c", "x", "a"], RequestOptions("archive", 3), AT)
    assert (wished.queued, wished.unknown, list(wished.refused)) == (["a"], ["x"], ["b", "c"])
    assert "types does not name nra" in wished.refused["b"]
    assert "max_size" in wished.refused["c"]
    rows = tx.files.current(["a", "b", "c"])
    assert {key: row.state for key, row in rows.items()} == {"a": "pending", "b": "refused", "c": "refused"}
    assert rows["b"].error == wished.refused["b"]

    named = request_files(tx, rules, ["b", "c"], RequestOptions("archive", 0, is_explicit=True), AT)
    assert (named.queued, list(named.refused)) == (["b"], ["c"])
    items = tx.items.claim("document_file", LATER, LATER, 10)
    assert [(item.lane, item.priority) for item in items] == [("b", 0), ("a", 3)]


def test_what_lacks_a_file_is_found_until_it_is_here(tx):
    gone = msgspec.structs.replace(document("gone"), removed_at=AT)
    put(tx, document("a"), document("b"), document("c"), gone)
    assert tx.files.missing("", AT, 10) == ["a", "b", "c"]
    assert tx.files.missing("a", AT, 1) == ["b"]

    request_files(tx, ArchiveRules(archive=True), ["a", "b"], RequestOptions("archive", 3), AT)
    tx.files.record_fetched("a", fetched(PDF), AT)
    tx.files.record_failure("b", FetchFailure("gone", "404", LATER), AT)
    assert tx.files.missing("", AT, 10) == ["c"]
    assert tx.files.missing("", LATER, 10) == ["b", "c"]

    tx.raw.execute("UPDATE documents SET uploaded_at = ? WHERE id = 'a'", (LATER,))
    assert tx.files.missing("", AT, 10) == ["a", "c"]


def test_two_wishes_for_one_file_are_one_item_and_the_more_urgent_wins(tx):
    put(tx, document("a"))
    for priority in (3, 0, 3):
        request_files(tx, ArchiveRules(archive=True), ["a"], RequestOptions("archive", priority), AT)
    (item,) = tx.items.claim("document_file", LATER, LATER, 10)
    assert item.priority == 0


# --- the zip ---


def packed(archive, tx, *records):
    put(tx, *records)
    entries = [(record, row) for record in records for key, row in tx.files.of_shipment(7, 100) if key == record.id]
    return b"".join(zip_stream(archive, 7, entries, AT))


def read(content):
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        assert found.testzip() is None
        index = json.loads(found.read("index.json"))
        rows = list(csv.DictReader(io.StringIO(found.read("index.csv").decode())))
        return {name: found.read(name) for name in found.namelist() if not name.startswith("index.")}, index, rows


def arrive(archive, tx, key, content, name="a.pdf", **fields):
    kept = keep(archive, content)
    told = DeclaredFile(fields.get("size", len(content)), AT)
    tx.files.request(key, told, AT, LATER)
    tx.files.record_fetched(key, FetchedFile(kept, "application/pdf", name, told), AT)


def test_the_zip_holds_the_files_and_says_what_is_missing(archive, tx):
    arrive(archive, tx, "a", PDF, "commercial_invoice-a.pdf")
    tx.files.request("b", DeclaredFile(9, AT), AT, LATER)
    tx.files.record_failure("b", FetchFailure("gone", "Flexport has no file for it", LATER), AT)

    files, index, rows = read(packed(archive, tx, document("a"), document("b", size=9), document("c", size=None)))

    assert files == {"commercial_invoice-a.pdf": PDF}
    assert (index["shipment"], index["missing"]) == ("7", 2)
    found = {row["document_id"]: row for row in index["documents"]}
    assert (found["a"]["sha256"], found["a"]["size"], found["a"]["reason"]) == (sha(PDF), len(PDF), None)
    assert found["b"]["reason"] == "Flexport has no file for it"
    assert found["c"]["reason"] == "it was never fetched"
    assert [row["document_id"] for row in rows] == ["a", "b", "c"]
    assert rows[0]["title"] == "Commercial invoice"


def test_no_file_in_the_zip_leaves_its_folder_or_takes_the_place_of_another(archive, tx):
    names = ["../../up.pdf", "/etc/x.pdf", "INDEX.csv", "index.csv", "same.pdf", "SAME.pdf"]
    for number, name in enumerate(names):
        arrive(archive, tx, f"d{number}", PDF + bytes([number]), name)

    records = [document(f"d{number}", size=len(PDF) + 1) for number in range(len(names))]
    files, index, _ = read(packed(archive, tx, *records))

    assert len({name.casefold() for name in files}) == len(names)
    assert not [name for name in files if "/" in name or "\\" in name or name.startswith(".")]
    assert {files[row["file"]] for row in index["documents"]} == {PDF + bytes([n]) for n in range(len(names))}
    assert index["missing"] == 0


def test_a_damaged_file_and_one_from_before_are_told(archive, tx):
    arrive(archive, tx, "a", PDF)
    archive.path_of(sha(PDF)).write_bytes(PDF.upper())
    arrive(archive, tx, "b", b"%PDF-old", "b.pdf")
    tx.files.request("b", DeclaredFile(99, LATER), LATER, LATER)

    files, index, _ = read(packed(archive, tx, document("a"), document("b", size=99, uploaded_at=LATER)))

    assert files["b.pdf"] == b"%PDF-old"
    assert "damaged" in index["documents"][0]["reason"]
    assert "from before" in index["documents"][1]["reason"]


def test_the_zip_is_made_in_small_pieces(archive, tx):
    content = os.urandom(3 << 20)
    arrive(archive, tx, "a", content)
    put(tx, document("a", size=len(content)))
    entries = [(document("a", size=len(content)), tx.files.current(["a"])["a"])]

    sizes = [len(piece) for piece in zip_stream(archive, 7, entries, AT)]
    assert max(sizes) < 600_000
    half = zip_stream(archive, 7, entries, AT)
    next(half)
    half.close()  # whoever fetched it has gone: no open file is left


@pytest.mark.parametrize(
    "text",
    ['=HYPERLINK("http://x")', " =1", "\u3000=1", "\ufeff=1", "\uff1d1", "\uff20a", "\n=1", "\x00=1", "-1-1", "@x"],
)
def test_a_spreadsheet_takes_nothing_in_the_index_for_a_formula(archive, tx, text):
    _, _, rows = read(packed(archive, tx, document("a", document_type=text), document(text)))
    assert rows[0]["document_type"] == rows[1]["document_id"] == csv_cell(text)
    assert csv_cell(text).startswith("'")
