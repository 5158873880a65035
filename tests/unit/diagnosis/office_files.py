"""Small files as vendors' programs write them, made by the libraries that write such files."""

import io
import zlib

import docx
import openpyxl
import xlwt


def xlsx(**sheets):
    """xlsx(Sheet=(rows, ["A2:A4", ...]))"""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, (rows, merges) in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
        for span in merges:
            sheet.merge_cells(span)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def xls(rows, merges=()):
    """`merges`: (top, bottom, left, right), from 0, inclusive."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Alarms")
    spanned = {
        (r, c)
        for top, bottom, left, right in merges
        for r in range(top, bottom + 1)
        for c in range(left, right + 1)
    }
    for top, bottom, left, right in merges:
        sheet.write_merge(top, bottom, left, right, rows[top][left])
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if (r, c) not in spanned and value is not None:
                sheet.write(r, c, value)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def word(rows=(), paragraphs=(), merges=()):
    """`paragraphs`: (text, style); `merges`: two cells of the table each."""
    document = docx.Document()
    for text, style in paragraphs:
        document.add_paragraph(text, style)
    if rows:
        table = document.add_table(len(rows), len(rows[0]))
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                table.cell(r, c).text = value
        for one, other in merges:
            kept = table.cell(*one).text
            table.cell(*one).merge(table.cell(*other)).text = kept
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def pdf(*pages):
    """Each page a list of drawing commands, see `text` and `grid`; an empty page holds no text."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = []
    for commands in pages:
        content = "\n".join(commands).encode("latin-1")
        packed = zlib.compress(content)
        objects.append(
            b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed) + packed + b"\nendstream"
        )
        page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {} 0 R "
        page += "/Resources << /Font << /F1 3 0 R >> >> >>"
        objects.append(page.format(len(objects)).encode())
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


def text(x, y, words):
    """Words at a place, from the page's lower left."""
    escaped = words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F1 10 Tf {x} {y} Td ({escaped}) Tj ET"


def grid(top, rows, widths=(80, 160, 200)):
    """A table with rules around its cells."""
    commands, height = [], 20
    for r, row in enumerate(rows):
        x = 50
        for width, cell in zip(widths, row, strict=False):
            bottom = top - (r + 1) * height
            commands += [f"{x} {bottom} {width} {height} re S", text(x + 4, bottom + 6, cell)]
            x += width
    return commands
