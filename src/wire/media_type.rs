//! Media types: what a file's name says of its type (what `serve` tells browsers, and what uploads tell servers that
//! ask), and what a reply says of it.

/// The media type that a file's name suggests; everything else is bytes to be saved.
pub fn of_name(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "txt" | "md" | "log" | "toml" | "csv" => "text/plain; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" => "audio/ogg",
        "flac" => "audio/flac",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The type in a `Content-Type` (RFC 9110, section 8.3.1), lower case and without its parameters; `None` where the
/// field says nothing.
pub fn essence(field: &str) -> Option<String> {
    let essence = field.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!essence.is_empty()).then_some(essence)
}

/// Whether it is the type of web pages.
pub fn is_page(essence: &str) -> bool {
    matches!(essence, "text/html" | "application/xhtml+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replies_say() {
        for (field, said) in [
            ("text/html; charset=utf-8", Some("text/html")),
            (" Application/XHTML+xml", Some("application/xhtml+xml")),
            ("", None),
            (";charset=utf-8", None),
        ] {
            assert_eq!(essence(field).as_deref(), said, "{field}");
        }
        assert!(is_page("text/html") && is_page("application/xhtml+xml") && !is_page("text/plain"));
    }
}
