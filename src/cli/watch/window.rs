//! The terminal: taken, drawn on, and given back as it was, however the command ends.

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::{MoveTo, Show};
use crossterm::event::{Event as TerminalEvent, EventStream, KeyEventKind};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use futures_util::StreamExt;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use zbus::Connection;

use super::Ending;
use super::draw::{draw, page};
use super::feed::{self, Request};
use super::keys::{Order, press};
use super::look::Look;
use super::output::{Output, own_stdout};
use super::state::State;
use crate::cli::Failure;
use crate::jail::usec;

/// No eye follows more pictures; during a flood, all that comes in between is in the next.
const FRAME: Duration = Duration::from_millis(100);

/// The clock in the head goes on.
const SECOND: Duration = Duration::from_secs(1);

/// How long a terminal that takes nothing may hold up the end.
const LAST_FRAME: Duration = Duration::from_secs(1);

pub(super) async fn run(connection: Connection, look: Look) -> Result<(), Failure> {
    let mut ending = Ending::begin()?;
    let mut state = State::new(usec(Timestamp::now()), TimeZone::system());
    let (mut events, requests) = feed::begin(connection);
    let mut screen = Screen::take(look)?;
    let mut keys = EventStream::new();
    let (mut next, mut heard) = (Instant::now(), Vec::new());
    loop {
        tokio::select! {
            // Keys first: a flood of events must not keep anybody from quitting.
            biased;
            () = ending.wait() => return Ok(()),
            error = screen.output.failed() => return Err(error.into()),
            key = keys.next() => match key {
                Some(Ok(TerminalEvent::Key(key))) if key.kind != KeyEventKind::Release => {
                    match press(&mut state, key) {
                        Some(Order::Quit) => return Ok(()),
                        Some(Order::Redraw) => screen.anew()?,
                        Some(Order::Ask(request)) => ask(&requests, request, &mut state),
                        None => {}
                    }
                    next = Instant::now();
                }
                Some(Ok(TerminalEvent::Resize(..))) => next = Instant::now(),
                Some(Ok(_)) => {}
                // The terminal is gone.
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            () = sleep_until(next) => {
                state.advance(usec(Timestamp::now()));
                next = Instant::now() + if screen.draw(&mut state)? { SECOND } else { FRAME };
            }
            count = events.recv_many(&mut heard, feed::EVENTS) => {
                if count == 0 {
                    return Err(feed::ended());
                }
                heard.drain(..).for_each(|event| state.hear(event));
                next = next.min(screen.drawn + FRAME);
            }
        }
    }
}

fn ask(requests: &mpsc::Sender<Request>, request: Request, state: &mut State) {
    if requests.try_send(request).is_err() {
        state.tell("too much is asked for already", true);
    }
}

/// What is to be written, until it goes in one piece.
#[derive(Clone, Default)]
struct Pending(Rc<RefCell<Vec<u8>>>);

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal while the window has it.
struct Screen {
    terminal: Terminal<CrosstermBackend<Pending>>,
    pending: Pending,
    output: Output,
    look: Look,
    drawn: Instant,
    /// A panic has given the terminal back, and its message is on it.
    given_back: Arc<AtomicBool>,
}

impl Screen {
    fn take(look: Look) -> Result<Self, Failure> {
        let no_terminal = |error| {
            Failure::Refused(format!(
                "cannot use the terminal ({error}); try: banjour watch --plain"
            ))
        };
        let (pending, direct) = (Pending::default(), own_stdout()?);
        let mut screen = Self {
            terminal: Terminal::new(CrosstermBackend::new(pending.clone())).map_err(no_terminal)?,
            pending,
            output: Output::begin()?,
            look,
            drawn: Instant::now(),
            given_back: Arc::default(),
        };
        let given_back = Arc::clone(&screen.given_back);
        let before = panic::take_hook();
        let taken = enable_raw_mode();
        panic::set_hook(Box::new(move |info| {
            // In this order, or the message would be wiped away with the window.
            let _ = direct.try_clone().and_then(|mut out| give_back(&mut out));
            let _ = disable_raw_mode();
            given_back.store(true, Ordering::SeqCst);
            before(info);
        }));
        taken.map_err(no_terminal)?;
        execute!(screen.pending, EnterAlternateScreen)?;
        screen.anew()?;
        Ok(screen)
    }

    /// Has everything drawn again. ratatui's own way asks the terminal where the cursor is, which not every one tells.
    fn anew(&mut self) -> io::Result<()> {
        execute!(self.pending, Clear(ClearType::All))?;
        self.terminal = Terminal::new(CrosstermBackend::new(self.pending.clone()))?;
        Ok(())
    }

    /// Draws, unless the terminal has not even taken what was drawn before.
    fn draw(&mut self, state: &mut State) -> Result<bool, Failure> {
        if !self.output.is_idle() {
            return Ok(false);
        }
        let look = self.look;
        self.terminal.draw(|frame| {
            state.page = page(frame.area().height);
            draw(frame, state, look);
        })?;
        self.drawn = Instant::now();
        self.send();
        Ok(true)
    }

    fn send(&self) {
        let bytes = self.pending.0.take();
        if !bytes.is_empty() {
            self.output.write(bytes);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.given_back.load(Ordering::SeqCst) {
            return;
        }
        let _ = give_back(&mut self.pending);
        self.send();
        self.output.drain(LAST_FRAME);
        let _ = disable_raw_mode();
    }
}

/// Shows what was there before; a terminal that has but one screen is left empty.
fn give_back(out: &mut impl Write) -> io::Result<()> {
    execute!(
        out,
        Clear(ClearType::All),
        MoveTo(0, 0),
        LeaveAlternateScreen,
        Show
    )
}
