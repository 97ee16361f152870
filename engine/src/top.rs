//! `smpp-gateway top`: what the control port tells, live in a terminal, or once as plain text.
//!
//! A program of its own that happens to be in the same file: it speaks HTTP to a gateway, here or elsewhere, and holds
//! nothing of one.

pub(crate) mod client;
mod picture;
mod screen;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use client::Client;
pub use client::TopError;
use picture::Picture;

/// What `top` is asked for.
#[derive(Clone, Debug)]
pub struct TopOptions {
    /// Such as `http://127.0.0.1:8080`.
    pub url: String,
    /// A file with the token of `[control] token`.
    pub token_file: Option<PathBuf>,
    /// Print one picture as text, and end.
    pub once: bool,
}

/// Shows the picture until `q` or Ctrl-C, or once.
///
/// # Errors
/// What is wrong with the options; with `once`, why the port tells nothing. A live picture shows that instead, and tries
/// again.
pub fn run(options: &TopOptions) -> Result<(), TopError> {
    let token = options.token_file.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).map_err(|error| TopError::Token(path.clone(), error))?;
        Ok(text.trim().to_owned())
    });
    let client = Client::new(&options.url, token.transpose()?)?;
    if options.once {
        let picture = Picture::ask(&client)?;
        // Whoever closes the pipe has read enough.
        let _ = write!(io::stdout(), "{}", Plain(&picture));
        return Ok(());
    }
    screen::run(&client).map_err(TopError::Terminal)
}

/// A picture as text without colours.
struct Plain<'p>(&'p Picture);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let picture = self.0;
        for line in &picture.summary {
            writeln!(f, "{line}")?;
        }
        for table in [&picture.vendors, &picture.customers] {
            writeln!(f)?;
            let widths = table.widths();
            for row in core::iter::once(&table.head).chain(&table.rows) {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&widths)
                    .enumerate()
                    .map(|(place, (cell, width))| match place < table.texts {
                        true => format!("{cell:<width$}"),
                        false => format!("{cell:>width$}"),
                    })
                    .collect();
                writeln!(f, "{}", cells.join("  ").trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
