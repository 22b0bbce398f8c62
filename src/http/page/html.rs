//! HTML that cannot be written unescaped: elements and attributes are words of the source, and everything between and in
//! them passes one escape. There is no way to hand in markup.

use std::fmt::{Display, Write};

/// A piece of a document, as it is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

/// The attributes of an element: names from the source, values from anywhere.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// Elements without content and without an end.
const VOID: [&str; 3] = ["link", "meta", "br"];

impl Html {
    /// A document, to which the children are added.
    pub(super) fn document(write: impl FnOnce(&mut Self)) -> String {
        let mut html = Self(String::with_capacity(32 * 1024));
        html.0.push_str("<!doctype html>\n");
        write(&mut html);
        html.0
    }

    /// An element and what is in it.
    pub(super) fn element(&mut self, name: &'static str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Self)) {
        self.0.push('<');
        self.0.push_str(name);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
        if VOID.contains(&name) {
            return;
        }
        inside(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// An element with nothing but a text in it.
    pub(super) fn words(&mut self, name: &'static str, attributes: Attributes<'_>, text: impl Display) {
        self.element(name, attributes, |html| html.text(text));
    }

    /// A text, wherever it comes from.
    pub(super) fn text(&mut self, text: impl Display) {
        // Writing to a string never fails.
        let _ = write!(Escape(&mut self.0), "{text}");
    }

    /// The inline style sheet or script, which HTML does not escape: a file of this folder, whose hash the policy names.
    pub(super) fn asset(&mut self, name: &'static str, asset: &Asset) {
        self.element(name, &[], |html| html.0.push_str(asset.0));
    }
}

/// A file of this folder that stands in the page as it is. A test holds that none ends its own element.
#[derive(Debug)]
pub(super) struct Asset(&'static str);

impl Asset {
    pub(super) const STYLE: Self = Self(include_str!("page.css"));
    pub(super) const SCRIPT: Self = Self(include_str!("page.js"));

    /// What stands between its tags, byte by byte.
    pub(super) fn bytes(&self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            match letter {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter if deceives(letter) => self.0.push('\u{FFFD}'),
                letter => self.0.push(letter),
            }
        }
        Ok(())
    }
}

/// Controls, and what turns the direction of a text or hides in it: it could make a line read as another.
fn deceives(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> String {
        let mut html = Html::default();
        html.element("p", &[("title", &text)], |html| html.text(text));
        html.0
    }

    #[test]
    fn what_means_something_to_a_browser_is_a_letter_like_others() {
        let escaped = "&lt;script&gt;alert(&quot;&#39;&amp;amp;&lt;/script&gt;";
        assert_eq!(written("<script>alert(\"'&amp;</script>"), format!("<p title=\"{escaped}\">{escaped}</p>"));
        assert_eq!(
            written("a\u{202E}b\u{2066}c\u{0}\n\u{200F}é"),
            written("a\u{FFFD}b\u{FFFD}c\u{FFFD}\u{FFFD}\u{FFFD}é")
        );
    }

    #[test]
    fn no_asset_ends_its_own_element() {
        for asset in [Asset::STYLE, Asset::SCRIPT] {
            assert!(!asset.0.contains("</") && !asset.0.contains("<!--") && !asset.0.contains('\r'));
        }
    }

    proptest! {
        #[test]
        fn no_text_opens_or_ends_anything(text in any::<String>()) {
            let written = written(&text);
            let inside = written.strip_prefix("<p title=\"").unwrap().strip_suffix("</p>").unwrap();
            let (title, content) = inside.split_once("\">").unwrap();
            prop_assert_eq!(title, content);
            prop_assert!(!content.contains(['<', '>', '"', '\'']) && !content.chars().any(deceives));
        }
    }
}
