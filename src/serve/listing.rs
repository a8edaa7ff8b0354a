//! A folder as a page: plain, escaped, without a script. Links are relative, so that a reverse proxy may serve it
//! under any path.

use super::root::Rows;
use crate::units;
use crate::wire::percent;
use std::os::unix::ffi::OsStrExt;

const STYLE: &str =
    "body{font:15px sans-serif;margin:2em}td{padding:.2em 1.5em .2em 0}td+td{text-align:right;color:#666}";

/// The page of the folder that people know as `title`; `top` says that nothing is above it.
pub fn page(title: &str, listed: &Rows, top: bool) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n<table>\n"
    );
    if !top {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for row in &listed.rows {
        let slash = if row.folder { "/" } else { "" };
        // The leading `./` keeps a colon in a name from being read as a scheme.
        let link = format!("./{}{slash}", percent::encode(row.name.as_bytes(), "-._~"));
        let name = escaped(&row.name.to_string_lossy());
        let size = if row.folder { String::new() } else { units::bytes(row.size) };
        let time = humantime::format_rfc3339_seconds(row.modified);
        page.push_str(&format!(
            "<tr><td><a href=\"{link}\">{name}{slash}</a></td><td>{size}</td><td>{time}</td></tr>\n"
        ));
    }
    page.push_str("</table>\n");
    if listed.cut {
        page.push_str("<p>There are more names than are shown here.</p>\n");
    }
    page.push_str("</body></html>\n");
    page
}

/// Text for a page: markup and control characters cannot get out of it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.extend(c.escape_default()),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::root::Row;
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn names_cannot_break_out() {
        let row = |name: &str, folder| Row { name: name.into(), folder, size: 5, modified: SystemTime::UNIX_EPOCH };
        let rows = vec![row("sub", true), row("<script>\"'&\n.txt", false), row("javascript:alert(1)", false)];
        let mut listed = Rows { rows, cut: true };
        assert!(page("/", &listed, true).contains("more names than are shown"));
        listed.cut = false;
        let page = page("/a<b/", &listed, false);
        assert!(!page.contains("more names"));
        assert!(page.contains("<h1>/a&lt;b/</h1>") && page.contains("href=\"./sub/\""), "{page}");
        assert!(
            page.contains("href=\"./%3Cscript%3E%22%27%26%0A.txt\">&lt;script&gt;&quot;&#39;&amp;\\n.txt<"),
            "{page}"
        );
        assert!(page.contains("href=\"./javascript%3Aalert%281%29\"") && !page.contains("<script"), "{page}");
    }
}
