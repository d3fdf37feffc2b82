//! `selvedge top`: the threads on the whole terminal, again each second.
//!
//! A thread of its own asks the program, so that keys are obeyed while the program does not answer.

mod screen;

use crate::args::Which;
use crate::connect::Place;
use crate::fault::{Exit, Fault};
use crate::find;
use crate::looks::Looks;
use crate::model::Threads;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use screen::Screen;
use std::io::IsTerminal;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const EACH: Duration = Duration::from_secs(1);

/// What the asking thread has seen: the threads, and the lines of the queues.
pub(crate) type Seen = Result<(Threads, Vec<String>), Fault>;

pub(crate) fn run(which: &Which) -> Result<(), Fault> {
    let program = find::program(which)?;
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Fault::new(Exit::Usage, "top needs a terminal; `selvedge ps` prints the same once"));
    }
    let (told, seen) = mpsc::sync_channel(1);
    let place = program.place;
    std::thread::spawn(move || ask(&place, &told));
    // Restores the terminal in a panic too.
    let mut terminal =
        ratatui::try_init().map_err(|error| Fault::failed(format!("cannot use the terminal: {error}")))?;
    let done = show(&mut terminal, &seen);
    let restored = ratatui::try_restore();
    done.and(restored).map_err(|error| Fault::failed(format!("cannot use the terminal: {error}")))
}

/// Looks again each second, until the receiver has gone or the program has ended.
fn ask(place: &Place, told: &mpsc::SyncSender<Seen>) {
    let mut looks = Looks::default();
    loop {
        let begin = Instant::now();
        let seen = looks.look(place).map(|threads| {
            let queues = crate::tree::queues(&threads, &looks);
            (threads, queues)
        });
        let has_ended = seen.as_ref().is_err_and(|fault| fault.exit == Exit::NotFound);
        if told.send(seen).is_err() || has_ended {
            return;
        }
        std::thread::sleep(EACH.saturating_sub(begin.elapsed()));
    }
}

fn show(terminal: &mut ratatui::DefaultTerminal, seen: &Receiver<Seen>) -> std::io::Result<()> {
    let mut screen = Screen::default();
    loop {
        while let Ok(seen) = seen.try_recv() {
            screen.take(seen);
        }
        terminal.draw(|frame| screen.draw(frame))?;
        if event::poll(Duration::from_millis(200))?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && !obey(&mut screen, key)
        {
            return Ok(());
        }
    }
}

/// Returns `false` if the screen ends.
fn obey(screen: &mut Screen, key: KeyEvent) -> bool {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return key.code != KeyCode::Char('c');
    }
    if screen.is_typing {
        match key.code {
            KeyCode::Esc => screen.filter.clear(),
            KeyCode::Backspace => drop(screen.filter.pop()),
            KeyCode::Char(c) => screen.filter.push(c),
            _ => {}
        }
        screen.is_typing = !matches!(key.code, KeyCode::Esc | KeyCode::Enter);
        return true;
    }
    match key.code {
        KeyCode::Char('q') => return false,
        KeyCode::Esc if screen.is_detailed => screen.is_detailed = false,
        KeyCode::Esc => screen.filter.clear(),
        KeyCode::Char('/') => screen.is_typing = true,
        KeyCode::Char('f') => screen.fold = !screen.fold,
        KeyCode::Char('s') => screen.by_cpu = !screen.by_cpu,
        KeyCode::Char('p') => screen.is_paused = !screen.is_paused,
        KeyCode::Enter => screen.is_detailed = !screen.is_detailed,
        KeyCode::Up | KeyCode::Char('k') => screen.move_by(-1),
        KeyCode::Down | KeyCode::Char('j') => screen.move_by(1),
        KeyCode::PageUp => screen.move_by(-20),
        KeyCode::PageDown => screen.move_by(20),
        KeyCode::Home => screen.move_by(isize::MIN),
        KeyCode::End => screen.move_by(isize::MAX),
        _ => {}
    }
    true
}
