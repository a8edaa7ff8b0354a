//! A first draft of a dialect from one request that a browser has made: fields are known by their names, as sites
//! choose them again and again. Secrets stay out of it; the draft says which must be given.

use super::curl::{Asked, Content};
use super::{Dialect, Template};
use crate::wire::mask;

/// Headers that a browser sends of itself, or that belong to the body.
const PASSING: [&str; 20] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "dnt",
    "host",
    "if-none-match",
    "origin",
    "pragma",
    "priority",
    "referer",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
    "sec-gpc",
    "x-requested-with",
    "content-range",
];

/// What the pieces of a request became.
struct Sorted {
    index: Vec<(String, String)>,
    constant: Vec<(String, String)>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    file: Option<(String, bool)>,
    base: Option<u64>,
    hashed: bool,
    merged_name: bool,
    /// What must be given, as flags.
    given: Vec<String>,
}

/// The text of a dialect that would make `asked`. `known` are dialects that it may turn out to be.
pub fn draft(asked: &Asked, known: &[(&str, Dialect)]) -> String {
    let sorted = sort(asked);
    let names = asked.names();
    let has = |wanted: &String| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    let alike = known.iter().find(|(_, dialect)| !dialect.sniff.is_empty() && dialect.sniff.iter().all(has));
    let mut text =
        String::from("# A draft, made of one request by the names of its fields. Read every line before you use it.\n");
    if let Some((name, _)) = alike {
        text.push_str(&format!("# It looks like {name}: try `onward upload --dialect {name} FILE DEST` first.\n"));
    }
    text.push_str(&format!("# DEST is {}\n", shown_url(&asked.url)));
    if !sorted.given.is_empty() {
        text.push_str("# What is not in here because it is secret, and must be given each time:\n");
        sorted.given.iter().for_each(|flag| text.push_str(&format!("#   {flag}\n")));
    }
    text.push_str("dialect = 1\nname = \"draft\"\nabout = \"drafted from a request\"\n\n[chunks]\nsize = \"1MiB\"          # what does the page use?\n");
    match sorted.base {
        Some(base) => text.push_str(&format!("base = {base}               # the number of the first chunk\n")),
        None => text.push_str("base = 0               # the number of the first chunk\n"),
    }
    text.push_str(
        "tail = \"own\"           # \"merged\": the rest belongs to the last whole chunk\norder = \"sequential\"   # \"any\": several at once, in any order\nparallel = 1\nrepeat = \"stop\"        # \"safe\" once you know that sending a chunk twice does no harm\n\n",
    );
    text.push_str("[identity]\nid = \"{uuid}\"\n");
    if sorted.hashed {
        text.push_str(
            "hash = { algo = \"md5\" }   # of the whole file; some pages take only its beginning: first = \"10MiB\"\n",
        );
    }
    text.push_str(&format!("\n[send]\nmethod = {}\n", quoted(&asked.method)));
    send(&mut text, asked, &sorted);
    text.push_str("# How does the server say that it stored the chunk? A JSON body wants: parse = \"json\", and\n# ok = { status = \"2xx\", json = { code = 0 } }\nok = { status = \"2xx\" }\n\n");
    text.push_str("# Does the page ask what is there, or end with a call of its own? See [have], [create] and [finish] of\n# `onward dialects show webuploader-a`.\n");
    text
}

fn send(text: &mut String, asked: &Asked, sorted: &Sorted) {
    match &sorted.file {
        Some((field, last)) => {
            text.push_str(&format!(
                "file = {{ field = {}, filename = {}, last = {last} }}\n",
                quoted(field),
                if sorted.merged_name { "\"blob\"" } else { "\"{name}\"" }
            ));
        }
        None if asked.content == Content::Raw || asked.content == Content::None => text.push_str("body = \"raw\"\n"),
        None => text.push_str("file = { field = \"file\" }   # the request had no file: which field holds it?\n"),
    }
    table(text, "index", &sorted.index);
    table(text, "form", &sorted.constant);
    table(text, "query", &sorted.query);
    table(text, "headers", &sorted.headers);
}

fn table(text: &mut String, name: &str, fields: &[(String, String)]) {
    let mut entries: Vec<String> = Vec::new();
    for (at, (field, value)) in fields.iter().enumerate() {
        // A table cannot hold a name twice; of fields that are sent twice the first is kept.
        if !fields[..at].iter().any(|(other, _)| other == field) {
            entries.push(format!("{} = {}", quoted(field), quoted(value)));
        }
    }
    if !entries.is_empty() {
        text.push_str(&format!("{name} = {{ {} }}\n", entries.join(", ")));
    }
}

fn sort(asked: &Asked) -> Sorted {
    let mut sorted = Sorted {
        index: Vec::new(),
        constant: Vec::new(),
        query: Vec::new(),
        headers: Vec::new(),
        file: None,
        base: None,
        hashed: false,
        merged_name: false,
        given: Vec::new(),
    };
    for (name, value) in &asked.headers {
        sorted.header(name, value);
    }
    for (name, value) in &asked.query {
        match guess(name, value) {
            _ if is_secret(name) => sorted.given.push(format!("{}=… in the query of DEST", flat(name))),
            Some(template) => sorted.query(name, value, template),
            None => sorted.query.push((name.clone(), plain(value))),
        }
    }
    match &asked.content {
        Content::Multipart(parts) => {
            let count = parts.len();
            for (at, part) in parts.iter().enumerate() {
                match &part.filename {
                    Some(filename) => {
                        sorted.merged_name = filename == "blob";
                        sorted.file = Some((part.name.clone(), at > 0 || count == 1));
                    }
                    None => sorted.field(&part.name, &part.value),
                }
            }
        }
        Content::Urlencoded(fields) => fields.iter().for_each(|(name, value)| sorted.field(name, value)),
        _ => {}
    }
    sorted
}

impl Sorted {
    fn header(&mut self, name: &str, value: &str) {
        let lower = name.to_ascii_lowercase();
        if lower == "cookie" {
            let names: Vec<String> =
                value.split(';').filter_map(|one| one.trim().split_once('=')).map(|(name, _)| flat(name)).collect();
            self.given
                .push(format!("-b '{}'", names.iter().map(|name| format!("{name}=…")).collect::<Vec<_>>().join("; ")));
        } else if lower == "authorization" || is_secret(&lower) {
            self.given.push(format!("-H '{}: …'", flat(name)));
        } else if lower == "content-range" {
            self.headers.push((name.into(), "bytes {offset}-{end}/{size}".into()));
        } else if !PASSING.contains(&lower.as_str())
            && !lower.starts_with("sec-")
            && name.parse::<http::HeaderName>().is_ok()
        {
            let template = guess(name, value).map_or_else(|| plain(value), str::to_string);
            self.headers.push((name.into(), template));
        }
    }

    fn query(&mut self, name: &str, value: &str, template: &str) {
        self.note(value, template);
        self.query.push((name.into(), template.into()));
    }

    fn field(&mut self, name: &str, value: &str) {
        if is_secret(name) {
            self.given.push(format!("-F {}=…", flat(name)));
            return;
        }
        match guess(name, value) {
            Some(template) => {
                self.note(value, template);
                self.index.push((name.into(), template.into()));
            }
            None => self.constant.push((name.into(), plain(value))),
        }
    }

    fn note(&mut self, value: &str, template: &str) {
        self.hashed |= template.contains("{md5}");
        if template == "{index}" {
            self.base = value.parse().ok().filter(|number| *number <= 1);
        }
    }
}

/// Whether a field of this name is nobody else's business.
fn is_secret(name: &str) -> bool {
    let plain = squeezed(name);
    let word = [
        "csrf",
        "xsrf",
        "token",
        "secret",
        "password",
        "passwd",
        "apikey",
        "session",
        "auth",
        "signature",
        "nonce",
        "ticket",
    ];
    mask::is_secret(name) || word.iter().any(|word| plain.contains(word))
}

/// A name without case and signs.
fn squeezed(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// What a field of this name holds, if names mean what they mean elsewhere.
fn guess(name: &str, value: &str) -> Option<&'static str> {
    let plain = squeezed(name);
    let plain = ["resumable", "flow", "qq", "dz"]
        .iter()
        .find_map(|prefix| plain.strip_prefix(prefix))
        .unwrap_or(&plain)
        .to_string();
    let has = |words: &[&str]| words.iter().any(|word| plain.contains(word));
    let is = |words: &[&str]| words.contains(&plain.as_str());
    let of_chunk = has(&["chunk", "part", "block", "slice", "piece", "shard"]);
    let flag = |yes: &'static str, word: &'static str| match value.trim() {
        "true" | "false" => Some(yes),
        _ => Some(word),
    };
    match () {
        () if has(&["lastmodified", "mtime"]) => Some("{mtime_ms}"),
        () if has(&["md5", "hash", "checksum"]) && of_chunk => Some("{chunk_md5}"),
        () if has(&["md5", "hash", "checksum"]) => Some("{md5}"),
        () if has(&["islast", "lastchunk", "isfinal", "isend"]) || is(&["last", "final", "eof"]) => {
            flag("{last?true:false}", "{last?1:0}")
        }
        () if has(&["isfirst", "firstchunk"]) || is(&["first"]) => flag("{first?true:false}", "{first?1:0}"),
        () if has(&["offset", "position"]) || is(&["start", "from", "begin"]) => Some("{offset}"),
        () if is(&["end"]) => Some("{end}"),
        () if has(&["currentchunksize", "chunklength"]) => Some("{len}"),
        () if has(&["totalsize", "filesize", "totalbytes", "filelength", "uploadlength"])
            || is(&["size", "length", "total"]) =>
        {
            Some("{size}")
        }
        () if of_chunk && has(&["size"]) => Some("{chunk}"),
        () if is(&["chunks", "parts", "slices", "blocks", "count", "totals"])
            || of_chunk && has(&["total", "count", "sum", "num"]) && !has(&["number"]) =>
        {
            Some("{count}")
        }
        () if is(&["chunk", "part", "index", "slice", "block", "number", "current", "seq", "piece"])
            || of_chunk && has(&["index", "number", "no", "id", "seq", "current"]) =>
        {
            Some("{index}")
        }
        () if has(&["uuid", "guid", "identifier", "uploadid", "fileid", "uid"]) || is(&["id", "key"]) => Some("{id}"),
        () if has(&["relativepath", "fullpath", "webkitrelativepath"]) => Some("{relpath}"),
        () if has(&["filename", "originalname", "uploadname"]) || is(&["name"]) => Some("{name}"),
        () if has(&["mime", "contenttype", "filetype"]) || is(&["type"]) => Some("{mime}"),
        () if is(&["ext", "extension", "fileext", "suffix"]) => Some("{ext}"),
        () => None,
    }
}

/// A value as a template that gives it again.
fn plain(value: &str) -> String {
    let text = value.replace('{', "{{").replace('}', "}}");
    if Template::parse(&text).is_ok() { text } else { String::new() }
}

/// A TOML basic string, which may be a key as well.
fn quoted(text: &str) -> String {
    let one = |c: char| match c {
        '"' | '\\' => vec!['\\', c],
        c if c.is_control() => format!("\\U{:08X}", u32::from(c)).chars().collect(),
        c => vec![c],
    };
    format!("\"{}\"", text.chars().flat_map(one).collect::<String>())
}

/// A name as it may stand in a comment.
fn flat(name: &str) -> String {
    name.escape_debug().to_string()
}

fn shown_url(text: &str) -> String {
    url::Url::parse(text).map_or_else(|_| flat(text), |url| mask::masked(&url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drafted(curl: &str) -> (String, Dialect) {
        let text = draft(&Asked::from_curl(curl).unwrap(), &[]);
        let dialect = Dialect::parse(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        (text, dialect)
    }

    const PASTED: &str = "curl 'https://h/api/upload?sig=s3cret1&v=2' -H 'Authorization: Bearer s3cret2' -H 'X-CSRF-Token: s3cret3' -H 'X-Api: 7' \
         -b 'sid=s3cret4; theme=dark' -F fileMd5=25f9 -F chunkIndex=0 -F totalChunks=9 -F isLast=false -F fileName=a.bin -F _token=s3cret5 \
         -F folder='{x}' -F 'file=@blob'";

    #[test]
    fn fields_are_known_by_their_names() {
        let (text, dialect) = drafted(PASTED);
        let index: Vec<&str> = dialect.send.index.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(index, ["fileMd5", "chunkIndex", "totalChunks", "isLast", "fileName"]);
        for part in
            ["\"{md5}\"", "\"{index}\"", "\"{count}\"", "\"{last?true:false}\"", "\"{name}\"", "folder = \"{{x}}\""]
        {
            assert!(text.replace("\"folder\"", "folder").contains(part), "{part}\n{text}");
        }
        let file = dialect.send.call.file.as_ref().unwrap();
        assert_eq!((file.field.as_str(), file.last), ("file", true));
        assert!(dialect.send.call.headers.iter().any(|(name, _)| name == "X-Api"));
        assert!(dialect.send.call.query.iter().any(|(name, _)| name == "v"));
    }

    #[test]
    fn secrets_are_named_and_not_told() {
        let (text, _) = drafted(PASTED);
        assert!(!text.contains("s3cret"), "{text}");
        for flag in [
            "-H 'Authorization: …'",
            "-H 'X-CSRF-Token: …'",
            "-b 'sid=…; theme=…'",
            "-F _token=…",
            "sig=… in the query",
        ] {
            assert!(text.contains(flag), "{flag}\n{text}");
        }
    }

    #[test]
    fn raw_bodies_and_files_in_front() {
        let (_, raw) = drafted(
            "curl -X PATCH http://h/u -H 'Upload-Offset: 0' -H 'Content-Type: application/octet-stream' --data-binary @x",
        );
        assert_eq!(raw.send.call.coding, super::super::Coding::Raw);
        assert_eq!(raw.send.call.method, "PATCH");
        let (_, front) = drafted("curl http://h -F 'theFile=@blob' -F totalSize=7");
        assert!(!front.send.call.file.unwrap().last);
    }

    proptest! {
        #[test]
        fn every_draft_can_be_read(name in "\\PC{1,12}", value in "\\PC{0,12}", header in "[a-zA-Z-]{1,8}") {
            let part = super::super::curl::Part { name: name.clone(), filename: None, value: value.clone() };
            let file = super::super::curl::Part { name, filename: Some("x".into()), value: String::new() };
            let asked = Asked {
                method: "POST".into(),
                url: "http://h/".into(),
                query: vec![("q".into(), value.clone())],
                headers: vec![(header, value.replace(char::is_control, ""))],
                content: Content::Multipart(vec![part, file]),
            };
            let text = draft(&asked, &[]);
            if let Err(problems) = Dialect::parse(&text) {
                prop_assert!(false, "{problems:?}\n{text}");
            }
        }
    }
}
