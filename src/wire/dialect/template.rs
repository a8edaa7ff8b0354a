//! Texts with values in them, as in `{size}-{name|strip}`: how a dialect writes what it sends.
//!
//! `{value|filter|filter}` is a value, `{last?true:false}` one of two texts by a flag, `{{` and `}}` the braces
//! themselves. A `#` before the closing brace of a template that is nothing else gives a JSON number or boolean where
//! JSON is written. How a value is escaped belongs to the place it stands in (a URL, a header, a form), not to the template.

use crate::digest::Algorithm;
use crate::wire::percent;
use base64::Engine;
use std::fmt;

/// A value that a template may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The chunk's number, counted from the dialect's base.
    Index,
    /// How many chunks there are.
    Count,
    /// The chunk's first byte.
    Offset,
    /// The chunk's last byte, inclusive.
    End,
    /// The chunk's length in bytes.
    Len,
    /// The nominal chunk size in bytes.
    Chunk,
    /// The file's length in bytes.
    Size,
    /// The file's name.
    Name,
    /// The file's path where a folder is sent; its name for a single file.
    Relpath,
    /// The file name's extension, without its dot.
    Ext,
    /// The media type, by the extension.
    Mime,
    /// The modification time in milliseconds since 1970.
    MtimeMs,
    /// The modification time as an HTTP date.
    MtimeHttp,
    /// The upload's id, by `[identity] id`.
    Id,
    /// A random UUID, one for each upload.
    Uuid,
    /// The digest of the file, by `[identity] hash`.
    Hash,
    /// The digest of the chunk.
    ChunkHash(Algorithm),
    /// What `[create] capture` took from its reply.
    Captured(String),
    /// A value of the latest reply to a chunk, by its JSON path.
    Last(String),
    /// A variable of the environment: a secret.
    Env(String),
}

/// A yes or no that a template may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Whether this is the first request, of the run or of the transfer as the dialect says.
    First,
    /// Whether this is the last chunk.
    Last,
}

/// What is done to a value before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Drops everything but ASCII letters, digits, `_` and `-`.
    Strip,
    /// Percent-encodes as JavaScript's `encodeURIComponent` does.
    Url,
    /// Base64, with padding.
    Base64,
    /// Zeros in front up to this many characters.
    Pad(usize),
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Key, Vec<Filter>),
    Choice(Flag, String, String),
}

/// A text with values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    literal: bool,
}

/// Gives the values of one request.
pub trait Values {
    /// The value of `key`; `None` when there is none here.
    fn value(&self, key: &Key) -> Option<String>;
    /// Whether `flag` is up.
    fn flag(&self, flag: Flag) -> bool;
}

/// A value that a template asks for and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Key);

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut plain, mut literal) = (Vec::new(), String::new(), false);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '{' | '}' if rest.starts_with(c) => {
                    plain.push(c);
                    rest = &rest[1..];
                }
                '}' => return Err("a `}` closes nothing; write `}}` for the character".into()),
                '{' => {
                    let end = rest.find('}').ok_or("a `{` is never closed; write `{{` for the character")?;
                    let (inside, number) = match rest[..end].strip_suffix('#') {
                        Some(inside) => (inside, true),
                        None => (&rest[..end], false),
                    };
                    literal |= number;
                    rest = &rest[end + 1..];
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece(inside)?);
                }
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if literal && pieces.len() != 1 {
            return Err("`#` makes a number of the whole text, so nothing may stand beside it".into());
        }
        Ok(Self { pieces, literal })
    }

    /// A template without any value.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { pieces: vec![Piece::Text(text.into())], literal: false }
    }

    /// Whether it is a JSON number or boolean rather than a text.
    pub fn is_literal(&self) -> bool {
        self.literal
    }

    /// The values it asks for.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(key, _) => Some(key),
            _ => None,
        })
    }

    /// The flags it asks for.
    pub fn flags(&self) -> impl Iterator<Item = Flag> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Choice(flag, ..) => Some(*flag),
            _ => None,
        })
    }

    /// What of the text is secret: the values of variables, as they are filled in.
    pub fn secrets(&self, values: &dyn Values) -> Vec<String> {
        let secret = |piece: &Piece| match piece {
            Piece::Value(key @ Key::Env(_), filters) => {
                Some(filters.iter().fold(values.value(key)?, |value, filter| filter.apply(&value)))
            }
            _ => None,
        };
        self.pieces.iter().filter_map(secret).collect()
    }

    /// The text, each value first given to `escape`.
    pub fn fill_with(&self, values: &dyn Values, escape: impl Fn(&str) -> String) -> Result<String, Missing> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Value(key, filters) => {
                    let value = values.value(key).ok_or_else(|| Missing(key.clone()))?;
                    text.push_str(&escape(&filters.iter().fold(value, |value, filter| filter.apply(&value))));
                }
                Piece::Choice(flag, yes, no) => text.push_str(&escape(if values.flag(*flag) { yes } else { no })),
            }
        }
        Ok(text)
    }

    /// The text as it is.
    pub fn fill(&self, values: &dyn Values) -> Result<String, Missing> {
        self.fill_with(values, str::to_string)
    }

    /// The text as a piece of a URL: what is not unreserved (RFC 3986, section 2.3) in a value is escaped.
    pub fn fill_url(&self, values: &dyn Values) -> Result<String, Missing> {
        self.fill_with(values, |value| percent::encode(value.as_bytes(), "-._~"))
    }

    /// The text as a header's value: what would end the line, or the header, is escaped.
    pub fn fill_header(&self, values: &dyn Values) -> Result<String, Missing> {
        let text = self.fill(values)?;
        Ok(text
            .chars()
            .map(|c| if c.is_control() { percent::encode(c.to_string().as_bytes(), "") } else { c.into() })
            .collect())
    }

    /// The text as a JSON value.
    pub fn fill_json(&self, values: &dyn Values) -> Result<serde_json::Value, Missing> {
        let text = self.fill(values)?;
        Ok(match self.literal {
            true => serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)),
            false => serde_json::Value::String(text),
        })
    }
}

/// Whether a shell could set a variable of this name.
fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

fn piece(inside: &str) -> Result<Piece, String> {
    if let Some((flag, texts)) = inside.split_once('?') {
        let flag = match flag {
            "first" => Flag::First,
            "last" => Flag::Last,
            other => return Err(format!("{other:?} is no flag; known are first and last")),
        };
        let (yes, no) = texts.split_once(':').ok_or("a choice is written {flag?yes:no}")?;
        return Ok(Piece::Choice(flag, yes.into(), no.into()));
    }
    let mut words = inside.split('|');
    let name = words.next().unwrap_or_default();
    let key = Key::parse(name).ok_or_else(|| format!("{name:?} is no value; known are {}", Key::NAMES.join(", ")))?;
    Ok(Piece::Value(key, words.map(Filter::parse).collect::<Result<_, _>>()?))
}

impl Key {
    /// The names that templates know.
    pub const NAMES: [&'static str; 23] = [
        "index",
        "count",
        "offset",
        "end",
        "len",
        "chunk",
        "size",
        "name",
        "relpath",
        "ext",
        "mime",
        "mtime_ms",
        "mtime_http",
        "id",
        "uuid",
        "hash",
        "md5",
        "chunk_md5",
        "chunk_sha1",
        "chunk_sha256",
        "cap.NAME",
        "last.PATH",
        "env.NAME",
    ];

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "index" => Self::Index,
            "count" => Self::Count,
            "offset" => Self::Offset,
            "end" => Self::End,
            "len" => Self::Len,
            "chunk" => Self::Chunk,
            "size" => Self::Size,
            "name" => Self::Name,
            "relpath" => Self::Relpath,
            "ext" => Self::Ext,
            "mime" => Self::Mime,
            "mtime_ms" => Self::MtimeMs,
            "mtime_http" => Self::MtimeHttp,
            "id" => Self::Id,
            "uuid" => Self::Uuid,
            "hash" | "md5" => Self::Hash,
            "chunk_md5" => Self::ChunkHash(Algorithm::Md5),
            "chunk_sha1" => Self::ChunkHash(Algorithm::Sha1),
            "chunk_sha256" => Self::ChunkHash(Algorithm::Sha256),
            _ => match name.split_once('.') {
                Some(("cap", name)) if !name.is_empty() => Self::Captured(name.into()),
                Some(("last", path)) if !path.is_empty() => Self::Last(path.into()),
                Some(("env", name)) if is_variable(name) => Self::Env(name.into()),
                _ => return None,
            },
        })
    }

    /// Whether it belongs to one chunk, so that it has no value in a request without one.
    pub fn is_of_chunk(&self) -> bool {
        matches!(self, Self::Index | Self::Offset | Self::End | Self::Len | Self::ChunkHash(_))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Captured(name) => write!(f, "cap.{name}"),
            Self::Last(path) => write!(f, "last.{path}"),
            Self::Env(name) => write!(f, "env.{name}"),
            Self::ChunkHash(Algorithm::Md5) => f.write_str("chunk_md5"),
            Self::ChunkHash(Algorithm::Sha1) => f.write_str("chunk_sha1"),
            Self::ChunkHash(_) => f.write_str("chunk_sha256"),
            known => {
                let found = Self::NAMES.into_iter().find(|name| Self::parse(name).as_ref() == Some(known));
                f.write_str(found.unwrap_or("value"))
            }
        }
    }
}

impl Filter {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name.split_once(':') {
            Some(("pad", digits)) => Self::Pad(
                digits.parse().ok().filter(|width| (1..=64).contains(width)).ok_or("pad wants a width of 1 to 64")?,
            ),
            _ => match name {
                "strip" => Self::Strip,
                "url" => Self::Url,
                "b64" => Self::Base64,
                "lower" => Self::Lower,
                "upper" => Self::Upper,
                other => {
                    return Err(format!("{other:?} is no filter; known are strip, url, b64, pad:N, lower and upper"));
                }
            },
        })
    }

    fn apply(self, value: &str) -> String {
        match self {
            Self::Strip => value.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect(),
            Self::Url => percent::encode(value.as_bytes(), "-_.!~*'()"),
            Self::Base64 => base64::engine::general_purpose::STANDARD.encode(value),
            Self::Pad(width) => format!("{value:0>width$}"),
            Self::Lower => value.to_lowercase(),
            Self::Upper => value.to_uppercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed;
    impl Values for Fixed {
        fn value(&self, key: &Key) -> Option<String> {
            match key {
                Key::Index => Some("7".into()),
                Key::Name => Some("a b\"\r\n写&.txt".into()),
                Key::Captured(name) => Some(format!("<{name}>")),
                Key::Env(name) => Some(format!("the {name}")),
                _ => None,
            }
        }
        fn flag(&self, flag: Flag) -> bool {
            flag == Flag::Last
        }
    }

    fn fill(text: &str) -> String {
        Template::parse(text).unwrap().fill(&Fixed).unwrap()
    }

    #[test]
    fn values_choices_filters_and_braces() {
        assert_eq!(fill("{index}/{index|pad:4}"), "7/0007");
        assert_eq!(fill("{last?true:false} {first?1:0}"), "true 0");
        assert_eq!(fill("{{}}"), "{}");
        assert_eq!(fill("{name|strip|upper}"), "ABTXT");
        assert_eq!(fill("{cap.up.id}"), "<up.id>");
        assert_eq!(fill("{index|b64}"), "Nw==");
        assert_eq!(fill(""), "");
        let missing = Template::parse("{size}").unwrap().fill(&Fixed).unwrap_err();
        assert_eq!(missing.0.to_string(), "size");
    }

    #[test]
    fn variables_are_secrets_in_the_shape_they_are_sent_in() {
        let template = Template::parse("{name} {env.KEY} {env.KEY|b64}").unwrap();
        assert_eq!(template.secrets(&Fixed), ["the KEY", "dGhlIEtFWQ=="]);
    }

    #[test]
    fn each_place_has_its_escapes() {
        let name = Template::parse("x={name}").unwrap();
        assert_eq!(name.fill_url(&Fixed).unwrap(), "x=a%20b%22%0D%0A%E5%86%99%26.txt");
        assert_eq!(name.fill_header(&Fixed).unwrap(), "x=a b\"%0D%0A写&.txt");
        assert_eq!(name.fill_json(&Fixed).unwrap(), "x=a b\"\r\n写&.txt");
        assert_eq!(Template::parse("{index#}").unwrap().fill_json(&Fixed).unwrap(), 7);
        assert_eq!(Template::parse("{last?true:false#}").unwrap().fill_json(&Fixed).unwrap(), true);
        assert_eq!(Template::parse("{index}").unwrap().fill_json(&Fixed).unwrap(), "7");
    }

    #[test]
    fn slips_are_named() {
        for (text, word) in [
            ("{idx}", "idx"),
            ("{index", "never closed"),
            ("index}", "closes nothing"),
            ("{name|upside}", "upside"),
            ("{name|pad:x}", "width"),
            ("{maybe?1:0}", "maybe"),
            ("{last?1}", "flag?yes:no"),
            ("a{index#}", "whole text"),
            ("{cap.}", "cap."),
            ("{env.A-B}", "env.A-B"),
        ] {
            let said = Template::parse(text).unwrap_err();
            assert!(said.contains(word), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\PC{}|?:#]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = (template.fill(&Fixed), template.fill_json(&Fixed));
            }
        }

        #[test]
        fn no_value_leaves_its_place(name in "\\PC{0,20}|[\r\n&=\"?#/]{0,8}") {
            struct One(String);
            impl Values for One {
                fn value(&self, _: &Key) -> Option<String> { Some(self.0.clone()) }
                fn flag(&self, _: Flag) -> bool { false }
            }
            let template = Template::parse("{name}").unwrap();
            let url = template.fill_url(&One(name.clone())).unwrap();
            prop_assert!(url.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._~%".contains(&c)));
            prop_assert!(!template.fill_header(&One(name)).unwrap().contains(char::is_control));
        }
    }
}
