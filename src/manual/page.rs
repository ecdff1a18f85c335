//! A man page in roff, man(7), made of Markdown and of what others add.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// What a page is made of.
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    pub(crate) about: &'static str,
    pub(crate) text: &'static str,
}

impl Source {
    pub(crate) fn file(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }
}

/// A page while it is written.
pub(crate) struct Page {
    pub(crate) roff: String,
    /// What has no description.
    pub(crate) missing: Vec<String>,
}

impl Page {
    pub(crate) fn begin(source: &Source) -> Self {
        let mut head = Roff::new();
        let version = concat!("banjour ", env!("CARGO_PKG_VERSION"));
        // No date, as with systemd's pages: it would be that of the build.
        let name = source.name.to_uppercase();
        head.control("TH", [&name, source.section, "\"\"", version, source.name]);
        // No hyphens, and a ragged margin: most words here are to be typed.
        head.control("nr", ["HY", "0"])
            .control("nh", [])
            .control("ad", ["l"]);
        head.control("SH", ["NAME"]);
        // lexgrog(1) looks for this dash.
        let name = format!("{} \\- {}\n", source.name, source.about);
        Self {
            roff: head.to_roff() + &name,
            missing: Vec::new(),
        }
    }

    pub(crate) fn missing(&mut self, what: impl Into<String>) {
        self.missing.push(what.into());
    }

    pub(crate) fn add(&mut self, roff: &Roff) {
        self.roff += &roff.to_roff();
    }

    /// What `clap_mangen` makes of a section, without its heading.
    pub(crate) fn add_section(
        &mut self,
        render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut written = Vec::new();
        render(&mut written)?;
        let written = String::from_utf8(written)?;
        let lines = written
            .lines()
            .filter(|line| {
                ![".SH", ".ie", ".el"]
                    .iter()
                    .any(|start| line.starts_with(start))
            })
            .map(|line| line.trim_end().replace(r"\*(Aq", "'") + "\n");
        self.roff.extend(lines);
        Ok(())
    }

    /// A paragraph begins there anyway.
    fn is_at_heading(&self) -> bool {
        let last = self.roff.lines().last().unwrap_or_default();
        last.starts_with(".SH") || last.starts_with(".SS")
    }

    /// A term, and what it means in Markdown.
    pub(crate) fn term(&mut self, term: Vec<Inline>, meaning: &str) {
        let mut roff = Roff::new();
        roff.control("TP", []).text(term);
        self.add(&roff);
        self.write(meaning, true);
    }

    /// Lines as they are, a little to the right.
    pub(crate) fn lines(&mut self, lines: &str) {
        let mut roff = Roff::new();
        verbatim(&mut roff, lines, self.is_at_heading());
        self.add(&roff);
    }

    pub(crate) fn markdown(&mut self, text: &str) {
        self.write(text, false);
    }

    /// Writes Markdown. The first paragraph of a term's meaning begins beside it.
    fn write(&mut self, text: &str, mut beside: bool) {
        beside |= self.is_at_heading();
        let mut roff = Roff::new();
        let mut inlines: Vec<Inline> = Vec::new();
        let mut style: fn(String) -> Inline = roman;
        let mut code: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_DEFINITION_LIST) {
            match event {
                Event::Start(Tag::Paragraph) if !std::mem::take(&mut beside) => {
                    roff.control("PP", []);
                }
                Event::Start(Tag::Item) => {
                    roff.control("IP", [r"\(bu", "2"]);
                    beside = true;
                }
                Event::Start(Tag::DefinitionListTitle) => {
                    roff.control("TP", []);
                }
                Event::Start(Tag::DefinitionListDefinition) => beside = true,
                Event::Start(Tag::Emphasis) => style = italic,
                Event::Start(Tag::Strong) => style = bold,
                Event::End(TagEnd::Emphasis | TagEnd::Strong) => style = roman,
                Event::Start(Tag::CodeBlock(_)) => code = Some(String::new()),
                Event::End(TagEnd::CodeBlock) => {
                    let lines = code.take().unwrap_or_default();
                    verbatim(&mut roff, &lines, std::mem::take(&mut beside));
                }
                Event::End(TagEnd::Heading(level)) => {
                    let text = plain(&std::mem::take(&mut inlines));
                    let level = if level == HeadingLevel::H1 {
                        "SH"
                    } else {
                        "SS"
                    };
                    roff.control(level, [text.as_str()]);
                    beside = true;
                }
                Event::End(
                    TagEnd::Paragraph
                    | TagEnd::Item
                    | TagEnd::DefinitionListTitle
                    | TagEnd::DefinitionListDefinition,
                ) => {
                    beside = false;
                    if !inlines.is_empty() {
                        roff.text(std::mem::take(&mut inlines));
                    }
                }
                Event::Text(text) => match &mut code {
                    Some(lines) => *lines += &text,
                    None => inlines.push(style(text.into_string())),
                },
                Event::Code(text) => inlines.push(bold(text.into_string())),
                Event::SoftBreak => inlines.push(roman(" ")),
                _ => {}
            }
        }
        self.add(&roff);
    }
}

fn verbatim(roff: &mut Roff, lines: &str, at_heading: bool) {
    if !at_heading {
        roff.control("PP", []);
    }
    roff.control("RS", ["4"]).control("EX", []);
    for line in lines.trim_end().lines() {
        roff.text([roman(line)]);
    }
    roff.control("EE", []).control("RE", []);
}

fn plain(inlines: &[Inline]) -> String {
    let text = |inline: &Inline| match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.clone(),
        Inline::LineBreak => " ".to_owned(),
    };
    inlines.iter().map(text).collect()
}
