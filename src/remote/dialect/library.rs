//! The dialects that come with the program, as the text they are written in.

use crate::digest::{Algorithm, Hasher};

/// Name and text of each, the two that this program was first made for in front.
const ALL: [(&str, &str); 15] = [
    ("check-file", include_str!("../dialects/check-file.toml")),
    ("check-file-verbatim", include_str!("../dialects/check-file-verbatim.toml")),
    ("form-sequence", include_str!("../dialects/form-sequence.toml")),
    ("resumable", include_str!("../dialects/resumable.toml")),
    ("flow", include_str!("../dialects/flow.toml")),
    ("simple-uploader", include_str!("../dialects/simple-uploader.toml")),
    ("dropzone", include_str!("../dialects/dropzone.toml")),
    ("plupload", include_str!("../dialects/plupload.toml")),
    ("blueimp", include_str!("../dialects/blueimp.toml")),
    ("django-chunked-upload", include_str!("../dialects/django-chunked-upload.toml")),
    ("fine-uploader", include_str!("../dialects/fine-uploader.toml")),
    ("filepond", include_str!("../dialects/filepond.toml")),
    ("webuploader-a", include_str!("../dialects/webuploader-a.toml")),
    ("webuploader-b", include_str!("../dialects/webuploader-b.toml")),
    ("laravel-chunk-upload", include_str!("../dialects/laravel-chunk-upload.toml")),
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// The text of one.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What tells a dialect's text from another, for records: the start of its SHA-256.
pub fn mark(text: &str) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(text.as_bytes());
    let mut mark = hasher.finish().hex();
    mark.truncate(32);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::Dialect;

    #[test]
    fn every_dialect_is_sound_and_says_its_name() {
        for name in names() {
            match Dialect::parse(text(name).unwrap()) {
                Ok(dialect) => assert_eq!((dialect.name.as_str(), dialect.about.is_empty()), (name, false)),
                Err(problems) => panic!("{name}: {problems:#?}"),
            }
        }
        assert_eq!(text("nothing"), None);
        assert_ne!(mark("a"), mark("b"));
    }
}
