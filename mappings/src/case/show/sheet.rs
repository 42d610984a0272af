//! A sheet for people to read and sign: headings, tables, lines; as Markdown, or as an HTML page that prints.

/// How a sheet is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SheetForm {
    /// Markdown.
    Markdown,
    /// A page on its own: nothing loaded, nothing run, laid out for paper.
    Html,
}

pub(super) struct Sheet {
    pub language: &'static str,
    pub title: String,
    pub sections: Vec<Section>,
}

#[derive(Default)]
pub(super) struct Section {
    pub heading: String,
    pub lines: Vec<String>,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    pub(super) fn write(&self, form: SheetForm) -> String {
        match form {
            SheetForm::Markdown => self.markdown(),
            SheetForm::Html => self.html(),
        }
    }

    fn markdown(&self) -> String {
        let cell = |text: &String| text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ");
        let line =
            |cells: &[String]| format!("| {} |\n", cells.iter().map(cell).collect::<Vec<_>>().join(" | "));
        let mut text = format!("# {}\n", self.title);
        for section in &self.sections {
            if !section.heading.is_empty() {
                text += &format!("\n## {}\n", section.heading);
            }
            for paragraph in &section.lines {
                text += &format!("\n{paragraph}\n");
            }
            if !section.rows.is_empty() {
                text += &format!("\n{}|{}\n", line(&section.head), "---|".repeat(section.head.len()));
                section.rows.iter().for_each(|row| text += &line(row));
            }
        }
        text
    }

    fn html(&self) -> String {
        let mut text = format!(
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<h1>{}</h1>\n",
            self.language,
            escaped(&self.title),
            escaped(&self.title)
        );
        for section in &self.sections {
            text += "<section>\n";
            if !section.heading.is_empty() {
                text += &format!("<h2>{}</h2>\n", escaped(&section.heading));
            }
            for paragraph in &section.lines {
                text += &format!("<p>{}</p>\n", escaped(paragraph));
            }
            if !section.rows.is_empty() {
                let cells = |row: &[String], tag: &str| -> String {
                    row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect()
                };
                text +=
                    &format!("<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n", cells(&section.head, "th"));
                for row in &section.rows {
                    text += &format!("<tr>{}</tr>\n", cells(row, "td"));
                }
                text += "</tbody>\n</table>\n";
            }
            text += "</section>\n";
        }
        text + "</body>\n</html>\n"
    }
}

const STYLE: &str = "body{font:11pt/1.4 system-ui,sans-serif;max-width:62rem;margin:1.5rem auto;padding:0 1rem;color:#111;background:#fff}\
    h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}table{border-collapse:collapse;width:100%}\
    th,td{border:1px solid #999;padding:.25rem .45rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#eee}\
    code{font-size:.92em}tr{break-inside:avoid}thead{display:table-header-group}@page{margin:15mm}";

/// Text for HTML; `` `code` `` becomes an element.
fn escaped(text: &str) -> String {
    let plain = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let parts: Vec<&str> = plain.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return plain;
    }
    let part = |(at, part): (usize, &&str)| match at % 2 {
        0 => (*part).to_owned(),
        _ => format!("<code>{part}</code>"),
    };
    parts.iter().enumerate().map(part).collect()
}
