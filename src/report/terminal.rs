//! The terminal as bars are drawn on it: the cursor stays right behind the last bar, with a few columns free. indicatif
//! fills every line up to the edge; then the `^C` that a terminal echoes would wrap, the next drawing would start a line
//! too low, and a piece of the old bar would stay behind.

use console::Term;
use indicatif::TermLike;
use std::io;
use std::sync::{Mutex, PoisonError};

/// The columns that are left free on the right.
const FREE: u16 = 3;
/// Nothing is drawn narrower than this.
const LEAST: u16 = 10;

/// The terminal behind stderr.
#[derive(Debug)]
pub struct Terminal {
    term: Term,
    /// Blanks that fill a line: written once another line follows, and not behind the last.
    filler: Mutex<String>,
}

impl Terminal {
    /// Buffered: what is drawn appears in one piece.
    pub fn new() -> Self {
        Self { term: Term::buffered_stderr(), filler: Mutex::default() }
    }

    fn take_filler(&self) -> String {
        std::mem::take(&mut *self.filler.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The columns that may be used now.
pub fn width() -> u16 {
    Term::stderr().size().1.saturating_sub(FREE).max(LEAST)
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let filler = self.take_filler();
        if !text.is_empty() && text.bytes().all(|byte| byte == b' ') {
            *self.filler.lock().unwrap_or_else(PoisonError::into_inner) = filler + text;
            return Ok(());
        }
        self.term.write_str(&(filler + text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.take_filler();
        self.term.flush()
    }
}
