//! Standard output with a thread of its own: what it is connected to may take nothing for as long as it likes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Pieces that wait to be written: lines in a pipe, a frame on a terminal.
const WAITING: usize = 4096;

/// Writes in the order in which it is told.
pub(super) struct Output {
    pieces: SyncSender<Vec<u8>>,
    /// Pieces that are not written yet.
    unwritten: Arc<AtomicUsize>,
    error: oneshot::Receiver<io::Error>,
}

impl Output {
    pub(super) fn begin() -> io::Result<Self> {
        let out = own_stdout()?;
        let (sender, pieces) = sync_channel(WAITING);
        let (failed, error) = oneshot::channel();
        let unwritten = Arc::<AtomicUsize>::default();
        let left = Arc::clone(&unwritten);
        thread::spawn(move || {
            if let Err(error) = write(out, &pieces, &left) {
                let _ = failed.send(error);
            }
        });
        Ok(Self {
            pieces: sender,
            unwritten,
            error,
        })
    }

    /// Takes a piece, unless thousands wait already.
    pub(super) fn write(&self, piece: Vec<u8>) -> bool {
        self.unwritten.fetch_add(1, Ordering::SeqCst);
        let taken = self.pieces.try_send(piece).is_ok();
        if !taken {
            self.unwritten.fetch_sub(1, Ordering::SeqCst);
        }
        taken
    }

    /// Whether all is written.
    pub(super) fn is_idle(&self) -> bool {
        self.unwritten.load(Ordering::SeqCst) == 0
    }

    /// Waits until all is written, but no longer than this.
    pub(super) fn drain(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.is_idle() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn failed(&mut self) -> io::Error {
        match (&mut self.error).await {
            Ok(error) => error,
            Err(_) => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

/// Standard output, without the lock of the one that all threads share: whoever writes may have to wait, and a panic's
/// message must not wait for that.
pub(super) fn own_stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

fn write(out: File, pieces: &Receiver<Vec<u8>>, left: &AtomicUsize) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    while let Ok(piece) = pieces.recv() {
        out.write_all(&piece)?;
        let mut count = 1;
        // What has come meanwhile goes with it.
        while let Ok(piece) = pieces.try_recv() {
            out.write_all(&piece)?;
            count += 1;
        }
        out.flush()?;
        left.fetch_sub(count, Ordering::SeqCst);
    }
    Ok(())
}
