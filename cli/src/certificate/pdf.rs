//! A certificate as a PDF: A4, the fonts that every reader has, nothing else needed.
//!
//! The fonts have the characters of Windows-1252; any other is written as `\u{…}`, so that nothing is
//! lost or shown as something else. Widths are those of Adobe's metrics for Helvetica.

use contract::id::Digest;
use erasure::certificate::Certificate;
use erasure::certificate::fields::sections;
use erasure::certificate::html::REMINDER;
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

/// A4 in points.
const PAGE: (f32, f32) = (595.0, 842.0);
const MARGIN: f32 = 42.0;
/// Where values start, from the left margin.
const VALUE_COLUMN: f32 = 150.0;
const PLAIN: Name<'static> = Name(b"F1");
const BOLD: Name<'static> = Name(b"F2");
const TEXT_SIZE: f32 = 7.5;
const LINE_HEIGHT: f32 = 9.4;

/// One piece of text at a place.
struct Piece {
    x: f32,
    y: f32,
    font: Name<'static>,
    size: f32,
    text: Vec<u8>,
}

/// Lines on pages, filled from the top.
struct Layout {
    pages: Vec<Vec<Piece>>,
    y: f32,
}

/// The PDF. `digest` is that of the certificate's file.
pub fn document(certificate: &Certificate, digest: Option<Digest>) -> Vec<u8> {
    let mut layout = Layout { pages: vec![Vec::new()], y: PAGE.1 - MARGIN };
    layout.line(16.0, BOLD, "Certificate of sanitization");
    layout.skip(4.0);
    layout.paragraph(&certificate.statement);
    for section in sections(certificate, digest) {
        layout.heading(section.heading);
        for (name, value) in section.rows {
            layout.row(&name, &value);
        }
    }
    layout.skip(LINE_HEIGHT);
    layout.paragraph(REMINDER);
    layout.number_pages(&format!("certificate {}", certificate.id));
    write(&layout, &format!("Certificate of sanitization {}", certificate.id))
}

impl Layout {
    /// Moves down; to a new page if less than this is left.
    fn take(&mut self, height: f32) -> f32 {
        if self.y - height < MARGIN + LINE_HEIGHT {
            self.pages.push(Vec::new());
            self.y = PAGE.1 - MARGIN;
        }
        self.y -= height;
        self.y
    }

    fn skip(&mut self, height: f32) {
        self.y -= height;
    }

    fn put(&mut self, x: f32, y: f32, font: Name<'static>, size: f32, text: Vec<u8>) {
        if let Some(page) = self.pages.last_mut() {
            page.push(Piece { x: MARGIN + x, y, font, size, text });
        }
    }

    fn line(&mut self, size: f32, font: Name<'static>, text: &str) {
        let y = self.take(size * 1.25);
        self.put(0.0, y, font, size, encoded(text));
    }

    fn heading(&mut self, text: &str) {
        // A heading alone at the end of a page would belong to nothing.
        if self.y - 4.0 * LINE_HEIGHT < MARGIN {
            self.y = 0.0;
        }
        self.skip(5.0);
        self.line(9.0, BOLD, text);
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrapped(encoded(text), PAGE.0 - 2.0 * MARGIN) {
            let y = self.take(LINE_HEIGHT);
            self.put(0.0, y, PLAIN, TEXT_SIZE, line);
        }
    }

    fn row(&mut self, name: &str, value: &str) {
        let names = wrapped(encoded(name), VALUE_COLUMN - 6.0);
        let values = wrapped(encoded(value), PAGE.0 - 2.0 * MARGIN - VALUE_COLUMN);
        for at in 0..names.len().max(values.len()) {
            let y = self.take(LINE_HEIGHT);
            if let Some(name) = names.get(at) {
                self.put(0.0, y, PLAIN, TEXT_SIZE, name.clone());
            }
            if let Some(value) = values.get(at) {
                self.put(VALUE_COLUMN, y, PLAIN, TEXT_SIZE, value.clone());
            }
        }
    }

    fn number_pages(&mut self, title: &str) {
        let count = self.pages.len();
        for (at, page) in self.pages.iter_mut().enumerate() {
            let text = encoded(&format!("{title}, page {} of {count}", at + 1));
            page.push(Piece { x: MARGIN, y: MARGIN - LINE_HEIGHT, font: PLAIN, size: TEXT_SIZE, text });
        }
    }
}

fn write(layout: &Layout, title: &str) -> Vec<u8> {
    let mut next = 0;
    let mut new_ref = || {
        next += 1;
        Ref::new(next)
    };
    let (catalog, tree, info, plain, bold) = (new_ref(), new_ref(), new_ref(), new_ref(), new_ref());
    let pages: Vec<(Ref, Ref)> = layout.pages.iter().map(|_| (new_ref(), new_ref())).collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree).lang(TextStr("en"));
    pdf.document_info(info).title(TextStr(title)).producer(TextStr("reprieve"));
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(pages.iter().map(|(page, _)| *page)).count(count);
    for (font, name) in [(plain, &b"Helvetica"[..]), (bold, b"Helvetica-Bold")] {
        pdf.type1_font(font).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for ((page_ref, content_ref), pieces) in pages.into_iter().zip(&layout.pages) {
        let mut page = pdf.page(page_ref);
        page.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).parent(tree).contents(content_ref);
        page.resources().fonts().pair(PLAIN, plain).pair(BOLD, bold);
        page.finish();
        let mut content = Content::new();
        for piece in pieces {
            content.begin_text();
            content.set_font(piece.font, piece.size);
            content.next_line(piece.x, piece.y);
            content.show(Str(&piece.text));
            content.end_text();
        }
        pdf.stream(content_ref, &content.finish());
    }
    pdf.finish()
}

/// Text in Windows-1252; what it does not have is written as `\u{…}`.
fn encoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match windows_1252(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(format!("\\u{{{:x}}}", u32::from(c)).bytes()),
        }
    }
    bytes
}

/// The characters of Windows-1252 from 80h to 9Fh; the replacement character where it has none.
const HIGH: &str = "€\u{fffd}‚ƒ„…†‡ˆ‰Š‹Œ\u{fffd}Ž\u{fffd}\u{fffd}‘’“”•–—˜™š›œ\u{fffd}žŸ";

fn windows_1252(c: char) -> Option<u8> {
    match c {
        ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}' => u8::try_from(u32::from(c)).ok(),
        '\u{fffd}' => None,
        _ => HIGH.chars().position(|high| high == c).and_then(|at| u8::try_from(0x80 + at).ok()),
    }
}

/// Lines that are no wider than this, broken at blanks, and within a word where it alone is wider.
fn wrapped(text: Vec<u8>, width: f32) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    for word in text.split(|byte| *byte == b' ') {
        let mut candidate = line.clone();
        if !candidate.is_empty() {
            candidate.push(b' ');
        }
        candidate.extend_from_slice(word);
        if text_width(&candidate) <= width {
            line = candidate;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for byte in word {
            line.push(*byte);
            if text_width(&line) > width && line.len() > 1 {
                line.pop();
                lines.push(std::mem::replace(&mut line, vec![*byte]));
            }
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

fn text_width(text: &[u8]) -> f32 {
    let thousandths: u32 = text.iter().map(|byte| u32::from(helvetica_width(*byte))).sum();
    // A line has at most a few thousand characters; f32 holds that exactly enough.
    thousandths as f32 / 1000.0 * TEXT_SIZE
}

/// Widths of the characters 20h to 7Eh in thousandths of the size (Adobe's Helvetica metrics).
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

/// The width of a character; the widest there is for those beyond ASCII, so that no line is too long.
fn helvetica_width(byte: u8) -> u16 {
    let at = usize::from(byte.wrapping_sub(0x20));
    WIDTHS.get(at).copied().unwrap_or(1000)
}
