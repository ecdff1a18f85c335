//! A real browser, Chromium. Tests give it a network of its own (`host::own_network`).

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

/// What the person who looks has set for all pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Dark,
    Light,
}

/// What a page looks like.
pub(crate) struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

/// Shows a page, and keeps a picture of it in `file`.
pub(crate) fn look(page: &Path, scheme: Scheme, size: (u32, u32), file: &Path) -> Picture {
    run(
        page,
        file,
        &[
            format!("--blink-settings=preferredColorScheme={}", scheme as u8),
            format!("--window-size={},{}", size.0, size.1),
            format!("--screenshot={}", file.display()),
        ],
    );
    let picture = Picture::read(file);
    assert_eq!(picture.width, size.0 as usize);
    picture
}

/// Prints a page into a PDF file, and tells how many sheets that are.
pub(crate) fn print(page: &Path, file: &Path) -> usize {
    run(
        page,
        file,
        &[
            "--no-pdf-header-footer".to_owned(),
            format!("--print-to-pdf={}", file.display()),
        ],
    );
    let text = fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&text);
    text.match_indices("/Type /Page")
        .filter(|(at, found)| !text[at + found.len()..].starts_with('s'))
        .count()
}

fn run(page: &Path, file: &Path, arguments: &[String]) {
    // One of its own each time: what is left of the last one may hold it for a moment.
    let profile = tempfile::tempdir().unwrap();
    let out = Command::new("chromium")
        // As root, it has no sandbox.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--hide-scrollbars", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .env("DBUS_SYSTEM_BUS_ADDRESS", "disabled:")
        .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
        .output()
        .expect("chromium is installed");
    let said = String::from_utf8_lossy(&out.stderr);
    // Its own pages, of which its print preview is one, complain as well: of a slow machine, for example.
    let of_page = |line: &str| line.contains("CONSOLE") && line.contains("source: file:");
    assert!(
        out.status.success() && file.exists() && !said.lines().any(of_page),
        "{}: {said}",
        out.status
    );
}

impl Picture {
    fn read(file: &Path) -> Self {
        let decoder = png::Decoder::new(BufReader::new(File::open(file).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        let samples = frame.color_type.samples();
        Self {
            width: frame.width as usize,
            pixels: bytes[..frame.buffer_size()]
                .chunks_exact(samples)
                .map(|pixel| [pixel[0], pixel[1], pixel[2]])
                .collect(),
        }
    }

    /// How bright it is, from 0 to 255.
    pub(crate) fn brightness(&self) -> usize {
        let sum = |pixel: &[u8; 3]| pixel.iter().map(|part| usize::from(*part)).sum::<usize>();
        self.pixels.iter().map(sum).sum::<usize>() / self.pixels.len() / 3
    }

    /// How many pixels have about this colour.
    pub(crate) fn count(&self, colour: [u8; 3]) -> usize {
        let near = |pixel: &&[u8; 3]| {
            let parts = pixel.iter().zip(colour);
            parts.map(|(part, wanted)| part.abs_diff(wanted)).max() <= Some(6)
        };
        self.pixels.iter().filter(near).count()
    }

    /// The lowest row that has something in another colour than the corner's.
    pub(crate) fn bottom(&self) -> usize {
        let paper = self.pixels[0];
        let last = self.pixels.iter().rposition(|pixel| *pixel != paper);
        last.unwrap_or(0) / self.width
    }
}
