//! What `top` draws, and what its keys change.

use super::Seen;
use crate::model::{Stop, Thread, Threads};
use crate::text::{percent, plain, plain_lines, span};
use crate::tree::{self, Row, Shown};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use std::time::Instant;

const KEYS: &str = "q quit  ↑↓ move  Enter details  / filter  f fold  s by CPU  p pause";

/// Problems take at most so many lines.
const MOST_PROBLEM_LINES: usize = 10;
const MOST_QUEUES: usize = 8;

pub(super) struct Screen {
    threads: Option<(Threads, Vec<String>)>,
    /// Since when the program does not answer, and why.
    fault: Option<(Instant, String)>,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) fold: bool,
    pub(super) by_cpu: bool,
    pub(super) is_paused: bool,
    pub(super) is_detailed: bool,
    selected: usize,
    first_shown: usize,
    rows: usize,
}

impl Default for Screen {
    fn default() -> Screen {
        Screen {
            threads: None,
            fault: None,
            filter: String::new(),
            is_typing: false,
            fold: true,
            by_cpu: false,
            is_paused: false,
            is_detailed: false,
            selected: 0,
            first_shown: 0,
            rows: 0,
        }
    }
}

impl Screen {
    pub(super) fn take(&mut self, seen: Seen) {
        match seen {
            Ok(seen) if !self.is_paused => (self.threads, self.fault) = (Some(seen), None),
            Ok(_) => self.fault = None,
            Err(fault) => {
                let since = self.fault.as_ref().map_or_else(Instant::now, |(since, _)| *since);
                self.fault = Some((since, fault.text));
            }
        }
    }

    pub(super) fn move_by(&mut self, step: isize) {
        self.selected = self.selected.saturating_add_signed(step).min(self.rows.saturating_sub(1));
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let seen = self.threads.take();
        match &seen {
            None => {
                let text = self.fault.as_ref().map_or("asking the program …", |(_, text)| text);
                frame.render_widget(
                    Paragraph::new(plain_lines(text).into_owned()).wrap(Wrap { trim: false }),
                    frame.area(),
                );
            }
            Some((threads, queues)) => self.draw_threads(frame, threads, queues),
        }
        self.threads = seen;
    }

    fn draw_threads(&mut self, frame: &mut Frame<'_>, threads: &Threads, queues: &[String]) {
        let problems: Vec<Line<'_>> = tree::problems(threads)
            .iter()
            .flat_map(|text| text.lines().map(|line| Line::from(line.to_owned()).red()).collect::<Vec<_>>())
            .take(MOST_PROBLEM_LINES)
            .collect();
        let heights = [1, problems.len(), 1, usize::MAX, queues.len().min(MOST_QUEUES), 1];
        let constraints = heights.map(|height| match height {
            usize::MAX => Constraint::Min(3),
            height => Constraint::Length(u16::try_from(height).unwrap_or(1)),
        });
        let [title, problem_area, head, body, queue_area, keys] = Layout::vertical(constraints).areas(frame.area());
        frame.render_widget(self.title(threads), title);
        frame.render_widget(Paragraph::new(problems), problem_area);
        let mut rows = tree::rows(threads, Shown { fold: self.fold, filter: &self.filter });
        if self.by_cpu {
            rows.sort_by(|a, b| b.share.total_cmp(&a.share));
        }
        self.draw_rows(frame, head, body, &rows);
        let queues: Vec<Line<'_>> =
            queues.iter().take(MOST_QUEUES).map(|text| Line::from(text.as_str()).cyan()).collect();
        frame.render_widget(Paragraph::new(queues), queue_area);
        let typed = format!("filter: {}▏  Enter keeps it, Esc clears it", plain(&self.filter));
        let keys_line = match (self.is_typing, self.filter.is_empty()) {
            (true, _) => typed,
            (false, true) => KEYS.to_owned(),
            (false, false) => format!("{KEYS}  [filter: {}]", plain(&self.filter)),
        };
        frame.render_widget(Line::from(keys_line).dark_gray(), keys);
        if self.is_detailed
            && let Some(row) = rows.get(self.selected)
        {
            draw_details(frame, body, row);
        }
    }

    fn title(&self, threads: &Threads) -> Line<'static> {
        let mut parts = vec![Span::from(tree::title(threads)).bold()];
        if let Some((since, text)) = &self.fault {
            let first = plain(text.lines().next().unwrap_or_default()).into_owned();
            parts.insert(0, format!("NO ANSWER for {}: {first}  ", span(since.elapsed().as_secs_f64())).red().bold());
        } else if self.is_paused {
            parts.insert(0, Span::from("PAUSED  ").yellow().bold());
        }
        Line::from(parts)
    }

    fn draw_rows(&mut self, frame: &mut Frame<'_>, head: Rect, body: Rect, rows: &[Row<'_>]) {
        self.rows = rows.len();
        self.selected = self.selected.min(rows.len().saturating_sub(1));
        let height = usize::from(body.height).max(1);
        self.first_shown = self.first_shown.clamp((self.selected + 1).saturating_sub(height), self.selected);
        let widest = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let width = widest.clamp(6, (usize::from(body.width) / 2).max(6));
        let heading = format!("{:>7} {:10} {:>7}  {:width$}  STATE", "CPU", "", "AGE", "THREAD");
        frame.render_widget(Line::from(heading).style(Style::new().add_modifier(Modifier::REVERSED)), head);
        let shown = rows.iter().enumerate().skip(self.first_shown).take(height);
        let lines: Vec<Line<'_>> = shown.map(|(at, row)| line(row, width, at == self.selected)).collect();
        if lines.is_empty() {
            let none =
                format!("no thread has \"{}\" in its path, state or wait; Esc clears the filter", plain(&self.filter));
            frame.render_widget(Paragraph::new(none).dark_gray(), body);
        } else {
            frame.render_widget(Paragraph::new(lines), body);
        }
    }
}

fn line(row: &Row<'_>, width: usize, is_selected: bool) -> Line<'static> {
    let filled = (row.share.clamp(0.0, 1.0) * 10.0).round() as usize;
    let name: String = row.label.chars().take(width).collect();
    let spans = vec![
        Span::from(format!("{:>7} ", percent(row.share))),
        Span::from(format!("{}{}", "█".repeat(filled), "·".repeat(10 - filled))).yellow(),
        Span::from(format!(" {:>7}  ", span(row.age))).dark_gray(),
        if row.is_bad {
            Span::from(format!("{name:width$}  ")).red().bold()
        } else {
            Span::from(format!("{name:width$}  "))
        },
        Span::from(row.what.clone()),
    ];
    let line = Line::from(spans);
    if is_selected { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
}

fn draw_details(frame: &mut Frame<'_>, body: Rect, row: &Row<'_>) {
    let text = match &row.members[..] {
        [one] => details(one),
        many => many.iter().map(|one| format!("{}: {}", one.path, one.state)).collect::<Vec<_>>().join("\n"),
    };
    let [_, area] = Layout::vertical([Constraint::Fill(1), Constraint::Percentage(60)]).areas(body);
    frame.render_widget(ratatui::widgets::Clear, area);
    let block = Block::bordered().title(plain(row.label.trim()).into_owned());
    frame.render_widget(Paragraph::new(plain_lines(&text).into_owned()).wrap(Wrap { trim: false }).block(block), area);
}

fn details(thread: &Thread) -> String {
    let mut lines = vec![format!("{} (id {}), {}", thread.path, thread.id, thread.state)];
    let mut add = |name: &str, text: Option<String>| lines.extend(text.map(|text| format!("{name}: {text}")));
    add("CPU", thread.cpu_s.map(span));
    add("kernel's id", thread.os_thread.map(|id| id.to_string()));
    add("spawned at", thread.spawned_at.clone());
    add(
        "waits",
        thread.wait().zip(thread.waiting_for.as_ref()).map(|(text, wait)| format!("{text}, {}", span(wait.for_s))),
    );
    add("asked to stop", thread.stop.as_ref().map(reasons));
    add("restarts", (thread.restarts > 0).then(|| thread.restarts.to_string()));
    thread.failures.iter().for_each(|text| add("failure", Some(text.clone())));
    lines.join("\n")
}

/// A stop with its causes.
fn reasons(stop: &Stop) -> String {
    let mut next = Some(stop);
    let mut parts = Vec::new();
    while let Some(stop) = next {
        let place = stop.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        parts.push(format!("{} ago by {}{place}: {}", span(stop.s_ago), stop.by, stop.text));
        next = stop.cause.as_deref();
    }
    parts.join("\n  because: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::model::{Deadlock, Wait};
    use crate::top::obey;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    fn threads() -> Threads {
        let thread = |id: u64, path: &str, share: f64| Thread {
            id,
            parent: (id > 1).then_some(1),
            path: path.to_owned(),
            state: "running".to_owned(),
            cpu_share: Some(share),
            ..Thread::default()
        };
        let mut all = vec![thread(1, "main", 0.0), thread(2, "main/a\x1b[31m", 0.1), thread(3, "main/burner", 0.9)];
        all[1].waiting_for = Some(Wait { kind: "lock".to_owned(), name: "door".to_owned(), ..Wait::default() });
        let deadlocks = vec![Deadlock { text: "deadlock: two\n  a waits".to_owned(), threads: vec![2], unless: None }];
        Threads { name: "indexer".to_owned(), process: 7, threads: all, deadlocks, ..Threads::default() }
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).collect()
    }

    fn press(screen: &mut Screen, code: KeyCode) -> bool {
        obey(screen, KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn place(lines: &[String], text: &str) -> Option<usize> {
        lines.iter().position(|line| line.contains(text))
    }

    #[test]
    fn it_shows_threads_problems_and_queues() {
        let mut screen = Screen::default();
        assert!(drawn(&mut screen, 80, 20)[0].contains("asking the program"));
        screen.take(Ok((threads(), vec!["files: 3 of 10".to_owned()])));
        let lines = drawn(&mut screen, 120, 20);
        assert!(lines[0].contains("indexer (pid 7)"), "{lines:#?}");
        for text in ["deadlock: two", "a\\u{1b}[31m", "waits for lock \"door\"", "90 %", "files: 3 of 10", "q quit"] {
            assert!(place(&lines, text).is_some(), "{text} is missing: {lines:#?}");
        }
    }

    #[test]
    fn keys_change_what_is_shown() {
        let mut screen = Screen::default();
        screen.take(Ok((threads(), Vec::new())));
        let lines = drawn(&mut screen, 120, 20);
        assert!(place(&lines, "main/a") < place(&lines, "burner") || place(&lines, "burner").is_some());
        press(&mut screen, KeyCode::Char('s'));
        let lines = drawn(&mut screen, 120, 20);
        assert!(place(&lines, "burner") < place(&lines, "waits for lock"), "{lines:#?}");
        press(&mut screen, KeyCode::Char('/'));
        "burn".chars().for_each(|c| assert!(press(&mut screen, KeyCode::Char(c))));
        let lines = drawn(&mut screen, 120, 20);
        assert!(
            place(&lines, "waits for lock \"door\", ").is_none() && place(&lines, "burner").is_some(),
            "{lines:#?}"
        );
        press(&mut screen, KeyCode::Enter);
        press(&mut screen, KeyCode::Char('/'));
        "nothing".chars().for_each(|c| assert!(press(&mut screen, KeyCode::Char(c))));
        assert!(place(&drawn(&mut screen, 120, 20), "no thread has \"burnnothing\"").is_some());
        press(&mut screen, KeyCode::Esc);
        press(&mut screen, KeyCode::End);
        press(&mut screen, KeyCode::Enter);
        assert!(place(&drawn(&mut screen, 120, 20), "(id ").is_some());
        assert!(!press(&mut screen, KeyCode::Char('q')));
        assert!(!obey(&mut screen, KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }

    #[test]
    fn a_program_that_does_not_answer_is_told_over_its_last_state() {
        let mut screen = Screen::default();
        screen.take(Ok((threads(), Vec::new())));
        screen.take(Err(Fault::failed("it is halted\nmore")));
        let lines = drawn(&mut screen, 120, 20);
        assert!(lines[0].contains("NO ANSWER for") && lines[0].contains("it is halted"), "{lines:#?}");
        assert!(place(&lines, "burner").is_some());
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        for (width, height) in [(1, 1), (5, 3), (20, 4), (300, 2)] {
            let mut screen = Screen::default();
            screen.take(Ok((threads(), vec!["q".to_owned(); 20])));
            screen.is_detailed = true;
            assert_eq!(drawn(&mut screen, width, height).len(), usize::from(height));
        }
    }
}
