//! A certificate as one page that needs nothing else: no script, no picture, no font, no address.

use contract::id::Digest;

use super::Certificate;
use super::fields::sections;

const STYLE: &str = "body{font:10pt/1.35 sans-serif;max-width:48em;margin:2em auto;padding:0 1em;color:#111}\
h1{font-size:1.5em;margin:0 0 .3em}h2{font-size:1.05em;margin:1.2em 0 .3em;border-bottom:1px solid #888}\
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:normal;color:#444;width:16em;\
vertical-align:top;padding:.1em .8em .1em 0}td{vertical-align:top;padding:.1em 0;overflow-wrap:anywhere}\
@media print{body{margin:0;max-width:none;font-size:8.5pt}tr{break-inside:avoid}h2{break-after:avoid}}";

/// The page. `digest` is that of the certificate's file.
#[must_use]
pub fn page(certificate: &Certificate, digest: Option<Digest>) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Certificate of sanitization {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Certificate of sanitization</h1>\n<p>{}</p>\n",
        certificate.id,
        escaped(&certificate.statement),
    );
    for section in sections(certificate, digest) {
        page.push_str(&format!("<h2>{}</h2>\n<table>\n", escaped(section.heading)));
        for (name, value) in section.rows {
            page.push_str(&format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(&name), escaped(&value)));
        }
        page.push_str("</table>\n");
    }
    page.push_str(&format!("<p>{}</p>\n</body>\n</html>\n", escaped(REMINDER)));
    page
}

/// What must stand on everything that is made for people.
pub const REMINDER: &str = "This page is for reading. What is signed is the certificate's JSON file; check it with \
                            reprieve certificate verify FILE --key SITE-KEY.";

/// Text that shows as it is, whatever it is. Control characters, which nobody sees, become visible.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || is_direction(c) => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Characters that turn the direction of the text and so could make it read as another one.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
