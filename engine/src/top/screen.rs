//! The live picture: asked once a second, drawn when it has changed, ended by a key.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table as TableWidget};
use ratatui::{DefaultTerminal, Frame};

use super::client::{Client, TopError};
use super::picture::{Picture, Table};

/// From one question to the next, and from one look at the keys to the next.
const PERIOD: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(100);

/// What the asking thread has to tell.
type News = Result<Picture, TopError>;

/// What is on the screen.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) picture: Picture,
    /// Why it is not of now.
    pub(super) trouble: Option<String>,
    pub(super) address: String,
}

/// Draws until `q`, Escape or Ctrl-C. The terminal is as it was afterwards.
pub(super) fn run(client: &Client) -> io::Result<()> {
    // The asking thread ends with the program, or when nobody takes its news any more.
    let (sender, news) = sync_channel::<News>(0);
    let asking = client.clone();
    thread::spawn(move || {
        while sender.send(Picture::ask(&asking)).is_ok() {
            thread::sleep(PERIOD);
        }
    });
    let mut terminal = ratatui::try_init()?;
    let outcome = show(&mut terminal, news, client.address());
    ratatui::restore();
    outcome
}

fn show(terminal: &mut DefaultTerminal, news: Receiver<News>, address: &str) -> io::Result<()> {
    let trouble = Some("asking …".to_owned());
    let mut shown = Shown { trouble, address: address.to_owned(), ..Shown::default() };
    loop {
        terminal.draw(|frame| draw(frame, &shown))?;
        if event::poll(LOOK)?
            && let Event::Key(key) = event::read()?
            && ends(key)
        {
            return Ok(());
        }
        match news.try_recv() {
            Ok(Ok(picture)) => (shown.picture, shown.trouble) = (picture, None),
            Ok(Err(error)) => shown.trouble = Some(error.to_string()),
            Err(_) => {}
        }
    }
}

fn ends(key: KeyEvent) -> bool {
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Draws into whatever room there is; 80 columns and 24 lines show it all.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let picture = &shown.picture;
    let summary = picture.summary.len().max(1) as u16;
    let vendors = (picture.vendors.rows.len() as u16).saturating_add(2);
    let room = frame.area().height.saturating_sub(summary + 2);
    let [head, first, second, foot] = Layout::vertical([
        Constraint::Length(summary + 1),
        Constraint::Length(vendors.min(room.div_ceil(2).max(3))),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let lines = picture.summary.iter().enumerate().map(|(place, line)| {
        let style = match line.strip_prefix('!') {
            Some(_) => Style::new().fg(Color::Red),
            None if place == 0 => Style::new().add_modifier(Modifier::BOLD),
            None => Style::new(),
        };
        Line::styled(line.as_str(), style)
    });
    frame.render_widget(Paragraph::new(Text::from_iter(lines)), head);
    table(frame, first, &picture.vendors);
    table(frame, second, &picture.customers);
    let (text, style) = match &shown.trouble {
        Some(trouble) => (trouble.clone(), Style::new().fg(Color::Yellow)),
        None => (format!("{}   q ends", shown.address), Style::new().add_modifier(Modifier::DIM)),
    };
    frame.render_widget(Paragraph::new(text).style(style), foot);
}

fn table(frame: &mut Frame<'_>, area: Rect, table: &Table) {
    let cell = |place: usize, text: &String| {
        let line =
            if place < table.texts { Line::from(text.clone()) } else { Line::from(text.clone()).right_aligned() };
        let colour = match text.as_str() {
            "connected" => Color::Green,
            "disconnected" => Color::Red,
            "receiver_only" => Color::Yellow,
            _ => Color::Reset,
        };
        Cell::new(line).style(Style::new().fg(colour))
    };
    let row = |cells: &Vec<String>| Row::new(cells.iter().enumerate().map(|(place, text)| cell(place, text)));
    let widths = table.widths().into_iter().map(|width| Constraint::Length(width as u16));
    let head = row(&table.head).style(Style::new().add_modifier(Modifier::BOLD));
    let widget = TableWidget::new(table.rows.iter().map(row), widths).header(head).column_spacing(2);
    frame.render_widget(widget, area);
}
