//! Metadata documents as text. What came from people goes through [`Document::leaf`], which escapes it.

/// A document under construction.
pub(super) struct Document {
    text: String,
    /// The elements that are open, outermost first.
    open: Vec<&'static str>,
}

const NAMESPACE: &str = "http://soap.sforce.com/2006/04/metadata";

impl Document {
    /// A document of Salesforce's Metadata API.
    pub(super) fn new(root: &'static str) -> Self {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">\n");
        Self { text, open: vec![root] }
    }

    /// An element of text.
    pub(super) fn leaf(&mut self, name: &str, value: impl AsRef<str>) -> &mut Self {
        let line = format!("<{name}>{}</{name}>", escape(value.as_ref()));
        self.line(&line)
    }

    /// An element with others in it.
    pub(super) fn element(&mut self, name: &'static str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.line(&format!("<{name}>"));
        self.open.push(name);
        inside(self);
        self.open.pop();
        self.line(&format!("</{name}>"))
    }

    /// A remark for whoever reads the file, a line each.
    pub(super) fn remark(&mut self, lines: &[&str]) -> &mut Self {
        // Two hyphens end a comment.
        let lines = lines.iter().map(|line| line.replace("--", "- -")).collect::<Vec<_>>();
        let indent = format!("\n{}     ", self.indent());
        self.line(&format!("<!-- {} -->", lines.join(&indent)))
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        while let Some(name) = self.open.pop() {
            let line = format!("</{name}>");
            self.line(&line);
        }
        self.text
    }

    fn line(&mut self, line: &str) -> &mut Self {
        self.text.push_str(&self.indent());
        self.text.push_str(line);
        self.text.push('\n');
        self
    }

    fn indent(&self) -> String {
        "    ".repeat(self.open.len())
    }
}

/// Text as the content of an element.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_what_was_said_and_no_value_can_break_out_of_its_element() {
        let mut document = Document::new("Thing");
        document.remark(&["Use --flag.", "Or not."]);
        document.leaf("label", "a</label><evil/>&amp; \"b\" 'c' ]]> -->").element("inner", |inner| {
            inner.leaf("deep", "Ü");
        });
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <Thing xmlns=\"http://soap.sforce.com/2006/04/metadata\">\n    \
                <!-- Use - -flag.\n         Or not. -->\n    \
                <label>a&lt;/label&gt;&lt;evil/&gt;&amp;amp; &quot;b&quot; &apos;c&apos; ]]&gt; --&gt;</label>\n    \
                <inner>\n        \
                    <deep>Ü</deep>\n    \
                </inner>\n\
            </Thing>\n";
        assert_eq!(document.finish(), expected);
    }
}
