//! Reads TOML with its lines in mind: every slip is told with the line it stands on, all of them at once.
//!
//! Tables keep the order in which they are written, because the order of form fields is part of some protocols.

use crate::units;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One slip in a dialect's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line it stands on, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// A text being read, and what was found wrong with it.
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Reader<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    /// The line of a byte, from 1.
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub fn problem(&self, at: usize, what: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { line: self.line(at), what: what.into() });
    }

    /// All that was found, in the order of the lines.
    pub fn problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems.dedup();
        problems
    }
}

/// A value and where it stands.
pub(super) struct Item<'r, 't> {
    pub reader: &'r Reader<'t>,
    /// What it is called, for messages.
    pub path: String,
    pub value: &'r DeValue<'t>,
    pub span: Range<usize>,
}

impl<'r, 't> Item<'r, 't> {
    /// Tells that something is wrong with it.
    pub fn wrong<T>(&self, what: impl fmt::Display) -> Option<T> {
        self.reader.problem(self.span.start, format!("{}: {what}", self.path));
        None
    }

    pub fn text(&self) -> Option<&'r str> {
        self.value.as_str().or_else(|| self.wrong("a text is wanted"))
    }

    pub fn flag(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong("true or false is wanted"))
    }

    pub fn integer(&self) -> Option<i64> {
        let number =
            self.value.as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        number.or_else(|| self.wrong("a whole number is wanted"))
    }

    pub fn count(&self) -> Option<u64> {
        let number = self.integer()?;
        u64::try_from(number).ok().or_else(|| self.wrong("a number from 0 is wanted"))
    }

    /// A number of bytes: `"5MiB"`, or a plain number.
    pub fn size(&self) -> Option<u64> {
        match self.value.as_str() {
            Some(text) => units::size(text).ok().or_else(|| self.wrong("a size is wanted, as in \"5MiB\"")),
            None => self.count(),
        }
    }

    pub fn duration(&self) -> Option<Duration> {
        units::duration(self.text()?).ok().or_else(|| self.wrong("a time is wanted, as in \"30s\""))
    }

    /// Text as it is; numbers and booleans as they are written.
    pub fn scalar(&self) -> Option<String> {
        match self.value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Boolean(yes) => Some(yes.to_string()),
            DeValue::Integer(_) => self.integer().map(|number| number.to_string()),
            _ => self.wrong("a text, a number or a boolean is wanted"),
        }
    }

    /// The value as JSON, for comparisons.
    pub fn json(&self) -> Option<serde_json::Value> {
        match self.value {
            DeValue::String(text) => Some(text.to_string().into()),
            DeValue::Boolean(yes) => Some((*yes).into()),
            DeValue::Integer(_) => self.integer().map(Into::into),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Into::into),
            _ => self.wrong("a text, a number or a boolean is wanted"),
        }
    }

    pub fn table(&self) -> Option<Table<'r, 't>> {
        match self.value.as_table() {
            Some(table) => Some(Table::new(self.reader, self.path.clone(), table, self.span.clone())),
            None => self.wrong("a table is wanted"),
        }
    }

    /// The values of a list; a value that is none counts as a list of one.
    pub fn list(&self) -> Vec<Item<'r, 't>> {
        let one = |value: &'r DeValue<'t>, span: Range<usize>| Item {
            reader: self.reader,
            path: self.path.clone(),
            value,
            span,
        };
        match self.value.as_array() {
            Some(items) => items.iter().map(|item| one(item.get_ref(), item.span())).collect(),
            None => vec![one(self.value, self.span.clone())],
        }
    }
}

/// A table in the order of its lines. What nobody asked for is a slip.
pub(super) struct Table<'r, 't> {
    pub reader: &'r Reader<'t>,
    path: String,
    span: Range<usize>,
    entries: Vec<(&'r str, Range<usize>, &'r Spanned<DeValue<'t>>)>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'r, 't> Table<'r, 't> {
    pub fn new(reader: &'r Reader<'t>, path: String, table: &'r DeTable<'t>, span: Range<usize>) -> Self {
        let mut entries: Vec<_> =
            table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Self { reader, path, span, entries, asked: RefCell::default() }
    }

    fn item(&self, key: &str, value: &'r Spanned<DeValue<'t>>, at: &Range<usize>) -> Item<'r, 't> {
        let path = if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) };
        let span = if value.span().is_empty() { at.clone() } else { value.span() };
        Item { reader: self.reader, path, value: value.get_ref(), span }
    }

    /// The value of `key`.
    pub fn get(&self, key: &'static str) -> Option<Item<'r, 't>> {
        self.asked.borrow_mut().push(key);
        let (_, at, value) = self.entries.iter().find(|(name, ..)| *name == key)?;
        Some(self.item(key, value, at))
    }

    /// The table under `key`.
    pub fn table(&self, key: &'static str) -> Option<Table<'r, 't>> {
        self.get(key)?.table()
    }

    /// One of `words` under `key`, as its place among them.
    pub fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let item = self.get(key)?;
        let text = item.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.or_else(|| {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            item.wrong(format!("{text:?} is not one of {}", known.join(", ")))
        })
    }

    /// All values, in their order, whatever they are called.
    pub fn all(&self) -> Vec<(&'r str, Item<'r, 't>)> {
        self.entries.iter().map(|(key, at, value)| (*key, self.item(key, value, at))).collect()
    }

    /// Tells that something is wrong with the table as a whole.
    pub fn wrong(&self, what: impl fmt::Display) {
        self.reader.problem(self.span.start, what.to_string());
    }

    /// Tells of every key that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for (key, at, _) in &self.entries {
            if !asked.contains(key) {
                let place = if self.path.is_empty() { String::new() } else { format!(" in [{}]", self.path) };
                let what = format!("{key:?} means nothing{place}; known are {}", asked.join(", "));
                self.reader.problem(at.start, what);
            }
        }
    }
}
