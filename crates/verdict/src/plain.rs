//! Texts from outside made harmless for a terminal and a log.
//!
//! Device names, log lines and paths are hostile: control characters move a terminal's cursor, and Unicode's
//! format characters turn text around or hide it. They are shown as their code points.

use std::fmt::Write;

/// The text with everything that is not simply shown written as `\u{…}`.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_shown(character) {
            plain.push(character);
        } else {
            // Writing into a String cannot fail.
            let _ = write!(plain, "\\u{{{:x}}}", u32::from(character));
        }
    }
    plain
}

fn is_shown(character: char) -> bool {
    let hides = matches!(
        u32::from(character),
        // Soft hyphen, Arabic letter mark, joiners and directional marks, line and paragraph separators,
        // embeddings and overrides, invisible operators and isolates, variation selectors, byte order mark,
        // interlinear annotation, tags.
        0xad | 0x61c
            | 0x180e
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0xe0000..=0xe01ef
    );
    !character.is_control() && !hides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_or_hides_is_written_out() {
        for (text, expected) in [
            ("Fast & Sons 3000, größer", "Fast & Sons 3000, größer"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r", "a\\u{a}b\\u{d}"),
            ("exe\u{202e}gpj", "exe\\u{202e}gpj"),
            ("\u{feff}\u{200b}\u{9b}", "\\u{feff}\\u{200b}\\u{9b}"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_hidden_is_left(text in "\\PC{0,40}|.{0,40}") {
            let plain = plain(&text);
            proptest::prop_assert!(plain.chars().all(is_shown));
        }
    }
}
