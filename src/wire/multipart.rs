//! `multipart/form-data` as browsers print it (RFC 7578, and the form-submission algorithm of the HTML standard): what
//! stands before a file's bytes and what stands behind them, so that the bytes themselves never pass through here and
//! the length is known before the first of them is sent.

/// One part of a form, in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A plain field.
    Field {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// The file; a form has one at most, and its bytes come from elsewhere.
    File {
        /// The field's name.
        name: String,
        /// The file's name, as the server is to see it.
        filename: String,
        /// Its media type.
        content_type: String,
    },
}

impl Part {
    /// A plain field.
    pub fn field(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Field { name: name.into(), value: value.into() }
    }

    /// The file, of the type that says nothing.
    pub fn file(name: impl Into<String>, filename: impl Into<String>) -> Self {
        let content_type = "application/octet-stream".into();
        Self::File { name: name.into(), filename: filename.into(), content_type }
    }
}

/// A form's body, cut where the file's bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// All before the file's bytes; the whole body of a form without a file.
    pub head: Vec<u8>,
    /// All behind them.
    pub tail: Vec<u8>,
}

impl Body {
    /// The form of these parts. `bits` must be random for each form: they make the border that may not occur in the
    /// file. A second file, which this cannot hold, is `None`.
    pub fn new(parts: &[Part], bits: [u8; 16]) -> Option<Self> {
        let boundary = format!("----onward-{}", crate::digest::hex(&bits));
        // What stands before the file's bytes, and behind them once they have been passed.
        let mut sides = [String::new(), String::new()];
        let mut side = 0;
        for part in parts {
            let disposition = format!("--{boundary}\r\nContent-Disposition: form-data; ");
            match part {
                Part::Field { name, value } => {
                    let field = format!("name=\"{}\"\r\n\r\n{}\r\n", quoted(&lines(name)), lines(value));
                    sides[side].extend([disposition, field]);
                }
                Part::File { name, filename, content_type } => {
                    let (name, filename, kind) = (quoted(&lines(name)), quoted(filename), clean(content_type));
                    let file = format!("name=\"{name}\"; filename=\"{filename}\"\r\nContent-Type: {kind}\r\n\r\n");
                    (side == 0).then_some(())?;
                    sides[side].extend([disposition, file]);
                    side = 1;
                    sides[side].push_str("\r\n");
                }
            }
        }
        sides[side].push_str(&format!("--{boundary}--\r\n"));
        let [head, tail] = sides.map(String::into_bytes);
        Some(Self { content_type: format!("multipart/form-data; boundary={boundary}"), head, tail })
    }

    /// The length of the whole body in bytes, with a file of `file` bytes; `None` past 64 bits.
    pub fn length(&self, file: u64) -> Option<u64> {
        file.checked_add((self.head.len() + self.tail.len()) as u64)
    }
}

/// A name between quotes: what would end it, or the line, is percent-encoded, and nothing else.
fn quoted(name: &str) -> String {
    name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

/// Line ends as the network has them.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

/// A media type that cannot break its line.
fn clean(content_type: &str) -> String {
    content_type.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BITS: [u8; 16] = [7; 16];

    fn text(parts: &[Part]) -> String {
        let body = Body::new(parts, BITS).unwrap();
        String::from_utf8([body.head, b"BYTES".to_vec(), body.tail].concat())
            .unwrap()
            .replace(&crate::digest::hex(&BITS), "x")
    }

    #[test]
    fn the_file_in_its_place() {
        let parts = [Part::field("fileMd5", "25f9"), Part::field("chunk", "0"), Part::file("theChunk", "blob")];
        assert_eq!(
            text(&parts),
            "------onward-x\r\nContent-Disposition: form-data; name=\"fileMd5\"\r\n\r\n25f9\r\n\
             ------onward-x\r\nContent-Disposition: form-data; name=\"chunk\"\r\n\r\n0\r\n\
             ------onward-x\r\nContent-Disposition: form-data; name=\"theChunk\"; filename=\"blob\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nBYTES\r\n------onward-x--\r\n"
        );
        let first = text(&[Part::file("theFile", "blob"), Part::field("totalSize", "5")]);
        assert!(first.ends_with("\r\n\r\nBYTES\r\n------onward-x\r\nContent-Disposition: form-data; name=\"totalSize\"\r\n\r\n5\r\n------onward-x--\r\n"), "{first}");
    }

    #[test]
    fn forms_without_a_file_and_with_two() {
        let body = Body::new(&[Part::field("a", "b")], BITS).unwrap();
        assert!(body.tail.is_empty() && body.head.ends_with(b"--\r\n"));
        assert!(Body::new(&[], BITS).unwrap().head.starts_with(b"------onward-"));
        assert_eq!(Body::new(&[Part::file("a", "b"), Part::file("c", "d")], BITS), None);
    }

    #[test]
    fn names_as_browsers_quote_them() {
        let shown = text(&[Part::field("isLastChunk ", "a\nb\rc\r\nd"), Part::file("q\"\r\n", "写 \"x\"\\\r\n.txt")]);
        assert!(shown.contains("name=\"isLastChunk \"\r\n\r\na\r\nb\r\nc\r\nd\r\n"), "{shown}");
        assert!(shown.contains("name=\"q%22%0D%0A\"; filename=\"写 %22x%22\\%0D%0A.txt\"\r\n"), "{shown}");
        let sly = Part::File { name: "a".into(), filename: "b".into(), content_type: "x\r\nEvil: 1".into() };
        assert!(text(&[sly]).contains("Content-Type: xEvil: 1\r\n\r\nBYTES"));
    }

    #[test]
    fn lengths() {
        let body = Body::new(&[Part::file("a", "b")], BITS).unwrap();
        assert_eq!(body.length(5), Some((body.head.len() + body.tail.len() + 5) as u64));
        assert_eq!(body.length(u64::MAX), None);
        assert_eq!(
            body.content_type,
            format!("multipart/form-data; boundary=----onward-{}", crate::digest::hex(&BITS))
        );
    }

    proptest! {
        #[test]
        fn no_name_or_value_makes_a_part_of_its_own(name in "\\PC{0,10}|[\r\n\"]{0,5}", value in "(\r|\n|--|x){0,12}", file in "\\PC{0,10}|[\r\n\"]{0,5}") {
            let shown = text(&[Part::field(&name, &value), Part::file(&name, &file)]);
            prop_assert_eq!(shown.matches("------onward-x").count(), 3);
            prop_assert_eq!(shown.matches("\r\nContent-Type: application/octet-stream\r\n\r\nBYTES").count(), 1);
        }
    }
}
