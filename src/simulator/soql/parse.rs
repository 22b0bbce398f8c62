//! SOQL text to a `Query`. The grammar is the part that event log collectors use.
//!
//! Invariant: whatever the text, reading ends, does not panic and does not nest deeper than `DEPTH`. Mixing `AND` with
//! `OR` without parentheses is refused, as Salesforce refuses it. Which columns exist is not known here.

use jiff::Timestamp;

/// How deep parentheses may nest: reading them uses the stack.
const DEPTH: usize = 30;

#[derive(Debug, PartialEq)]
pub(super) struct Query {
    pub(super) select: Select,
    pub(super) from: String,
    pub(super) filter: Option<Condition>,
    /// Fields, and whether each one runs downwards.
    pub(super) order: Vec<(String, bool)>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}

#[derive(Debug, PartialEq)]
pub(super) enum Select {
    Count,
    Fields(Vec<String>),
    /// `FIELDS(STANDARD)` and `FIELDS(ALL)`.
    Standard,
}

#[derive(Debug, PartialEq)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare(Comparison),
    Not(Box<Self>),
}

#[derive(Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) field: String,
    pub(super) operator: Operator,
    /// One, or several for `In` and `NotIn`.
    pub(super) literals: Vec<Literal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Greater,
    GreaterOrEqual,
    In,
    Less,
    LessOrEqual,
    Like,
    NotEqual,
    NotIn,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Boolean(bool),
    /// Whole days, counted from today.
    Days {
        first: i64,
        last: i64,
    },
    Null,
    Number(f64),
    Text(String),
    Time(Timestamp),
}

pub(super) fn read(text: &str) -> Result<Query, String> {
    let mut tokens = Tokens { left: tokens(text)?, depth: 0 };
    tokens.word("SELECT")?;
    let select = tokens.select()?;
    tokens.word("FROM")?;
    let from = tokens.name()?;
    let filter = if tokens.takes("WHERE") { Some(tokens.condition()?) } else { None };
    let mut order = Vec::new();
    if tokens.takes("ORDER") {
        tokens.word("BY")?;
        order = tokens.order()?;
    }
    let limit = if tokens.takes("LIMIT") { Some(tokens.count()?) } else { None };
    let offset = if tokens.takes("OFFSET") { tokens.count()? } else { 0 };
    match tokens.left.last() {
        None => Ok(Query { select, from, filter, order, limit, offset }),
        Some(more) => Err(unexpected(Some(more))),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Symbol(&'static str),
    Text(String),
    /// Names, keywords, numbers and dates.
    Word(String),
}

fn unexpected(token: Option<&Token>) -> String {
    match token {
        None => "unexpected token: '<EOF>'".to_owned(),
        Some(Token::Symbol(symbol)) => format!("unexpected token: '{symbol}'"),
        Some(Token::Text(text) | Token::Word(text)) => format!("unexpected token: '{text}'"),
    }
}

/// The tokens, last one first.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    const SYMBOLS: [&str; 10] = ["<=", ">=", "!=", "<>", "<", ">", "=", "(", ")", ","];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            rest = rest.strip_prefix(symbol).unwrap_or_default();
            tokens.push(Token::Symbol(symbol));
        } else if first == '\'' {
            let (token, after) = quoted(rest)?;
            rest = after;
            tokens.push(Token::Text(token));
        } else {
            let part_of_word = |c: char| c.is_ascii_alphanumeric() || "_.:+-".contains(c);
            let end = rest.find(|c| !part_of_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if word.is_empty() {
                return Err(format!("unexpected token: '{first}'"));
            }
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    tokens.reverse();
    Ok(tokens)
}

/// The text between quotes, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => return Ok((content, text.get(at + 1..).unwrap_or_default())),
            '\\' => match characters.next() {
                Some((_, 'n')) => content.push('\n'),
                Some((_, escaped)) => content.push(escaped),
                None => break,
            },
            _ => content.push(character),
        }
    }
    Err("unexpected token: '<EOF>', a quote is not closed".to_owned())
}

/// What has not been read yet; the next token is the last.
struct Tokens {
    left: Vec<Token>,
    depth: usize,
}

impl Tokens {
    /// Takes the word if it comes next.
    fn takes(&mut self, keyword: &str) -> bool {
        let next = matches!(self.left.last(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        if next {
            self.left.pop();
        }
        next
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        let next = matches!(self.left.last(), Some(Token::Symbol(next)) if *next == symbol);
        if next {
            self.left.pop();
        }
        next
    }

    fn word(&mut self, keyword: &str) -> Result<(), String> {
        if self.takes(keyword) { Ok(()) } else { Err(unexpected(self.left.last())) }
    }

    fn symbol(&mut self, symbol: &str) -> Result<(), String> {
        if self.takes_symbol(symbol) { Ok(()) } else { Err(unexpected(self.left.last())) }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.left.pop() {
            Some(Token::Word(word)) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => Ok(word),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn count(&mut self) -> Result<usize, String> {
        match self.left.pop() {
            Some(Token::Word(word)) if word.parse::<usize>().is_ok() => word.parse().map_err(|_| word),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn select(&mut self) -> Result<Select, String> {
        let first = self.name()?;
        if first.eq_ignore_ascii_case("COUNT") && self.takes_symbol("(") {
            return self.symbol(")").map(|()| Select::Count);
        }
        if first.eq_ignore_ascii_case("FIELDS") && self.takes_symbol("(") {
            if !self.takes("STANDARD") {
                self.word("ALL")?;
            }
            return self.symbol(")").map(|()| Select::Standard);
        }
        let mut fields = vec![first];
        while self.takes_symbol(",") {
            fields.push(self.name()?);
        }
        Ok(Select::Fields(fields))
    }

    fn condition(&mut self) -> Result<Condition, String> {
        let first = self.term()?;
        let (keyword, join): (_, fn(Vec<Condition>) -> Condition) = match self.left.last() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("AND") => ("AND", Condition::All),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("OR") => ("OR", Condition::Any),
            _ => return Ok(first),
        };
        let mut parts = vec![first];
        while self.takes(keyword) {
            parts.push(self.term()?);
        }
        // The other keyword, if it comes now, is left over and refused by whoever called.
        Ok(join(parts))
    }

    fn term(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("the query is nested too deeply".to_owned());
        }
        let term = if self.takes("NOT") {
            Condition::Not(Box::new(self.term()?))
        } else if self.takes_symbol("(") {
            let inner = self.condition()?;
            self.symbol(")")?;
            inner
        } else {
            Condition::Compare(self.comparison()?)
        };
        self.depth -= 1;
        Ok(term)
    }

    fn comparison(&mut self) -> Result<Comparison, String> {
        let field = self.name()?;
        let operator = match self.left.pop() {
            Some(Token::Symbol("=")) => Operator::Equal,
            Some(Token::Symbol("!=" | "<>")) => Operator::NotEqual,
            Some(Token::Symbol("<")) => Operator::Less,
            Some(Token::Symbol("<=")) => Operator::LessOrEqual,
            Some(Token::Symbol(">")) => Operator::Greater,
            Some(Token::Symbol(">=")) => Operator::GreaterOrEqual,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("LIKE") => Operator::Like,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("IN") => Operator::In,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("NOT") => {
                self.word("IN")?;
                Operator::NotIn
            }
            other => return Err(unexpected(other.as_ref())),
        };
        let literals = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => vec![self.literal()?],
        };
        Ok(Comparison { field, operator, literals })
    }

    fn list(&mut self) -> Result<Vec<Literal>, String> {
        self.symbol("(")?;
        let mut literals = vec![self.literal()?];
        while self.takes_symbol(",") {
            literals.push(self.literal()?);
        }
        self.symbol(")")?;
        Ok(literals)
    }

    fn literal(&mut self) -> Result<Literal, String> {
        let word = match self.left.pop() {
            Some(Token::Text(text)) => return Ok(Literal::Text(text)),
            Some(Token::Word(word)) => word,
            other => return Err(unexpected(other.as_ref())),
        };
        let days = |name: &str| {
            let (head, number) = word.split_once(':')?;
            head.eq_ignore_ascii_case(name).then(|| number.parse::<u16>().ok()).flatten()
        };
        match word.to_ascii_uppercase().as_str() {
            "TRUE" => Ok(Literal::Boolean(true)),
            "FALSE" => Ok(Literal::Boolean(false)),
            "NULL" => Ok(Literal::Null),
            "TODAY" => Ok(Literal::Days { first: 0, last: 0 }),
            "YESTERDAY" => Ok(Literal::Days { first: -1, last: -1 }),
            _ => match (days("LAST_N_DAYS"), word.parse::<Timestamp>(), word.parse::<f64>()) {
                (Some(days), ..) => Ok(Literal::Days { first: -i64::from(days), last: 0 }),
                (None, Ok(time), _) => Ok(Literal::Time(time)),
                (None, Err(_), Ok(number)) if number.is_finite() => Ok(Literal::Number(number)),
                _ => Err(unexpected(Some(&Token::Word(word)))),
            },
        }
    }

    fn order(&mut self) -> Result<Vec<(String, bool)>, String> {
        let mut order = Vec::new();
        loop {
            let field = self.name()?;
            let descending = !self.takes("ASC") && self.takes("DESC");
            if self.takes("NULLS") && !self.takes("FIRST") {
                self.word("LAST")?;
            }
            order.push((field, descending));
            if !self.takes_symbol(",") {
                return Ok(order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_salesforce_cannot_read_is_not_read_either() {
        for text in [
            "",
            "SELECT",
            "SELECT FROM EventLogFile",
            "SELECT * FROM EventLogFile",
            "SELECT Id, FROM EventLogFile",
            "SELECT Id FROM",
            "SELECT Id FROM EventLogFile WHERE",
            "SELECT Id FROM EventLogFile WHERE Id",
            "SELECT Id FROM EventLogFile WHERE Id = ",
            "SELECT Id FROM EventLogFile WHERE Id = 'open",
            "SELECT Id FROM EventLogFile WHERE Id == 'a'",
            "SELECT Id FROM EventLogFile WHERE Id = a",
            "SELECT Id FROM EventLogFile WHERE (Id = 'a'",
            "SELECT Id FROM EventLogFile WHERE Id = 'a' AND Id = 'b' OR Id = 'c'",
            "SELECT Id FROM EventLogFile WHERE Id IN ()",
            "SELECT Id FROM EventLogFile ORDER LogDate",
            "SELECT Id FROM EventLogFile LIMIT -1",
            "SELECT Id FROM EventLogFile LIMIT 1 nonsense",
            "DELETE FROM EventLogFile",
            "SELECT Id FROM EventLogFile; DROP",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let deep = format!("SELECT Id FROM EventLogFile WHERE {}Id = 'a'{}", "(".repeat(5000), ")".repeat(5000));
        assert!(read(&deep).is_err());
    }

    #[test]
    fn a_collectors_query_is_read_whole() {
        let query = read(
            "SELECT Id,CreatedDate,LogDate,LogFile FROM EventLogFile WHERE Interval = 'Hourly' AND EventType = 'Login' \
             AND (CreatedDate > 2027-01-15T08:00:00.000Z OR (CreatedDate = 2027-01-15T08:00:00Z AND Id > '0AT')) \
             ORDER BY CreatedDate ASC NULLS FIRST, Id ASC",
        )
        .unwrap();
        assert_eq!(query.order, [("CreatedDate".to_owned(), false), ("Id".to_owned(), false)]);
        let Some(Condition::All(parts)) = query.filter else { panic!("three conditions") };
        assert!(matches!(parts.as_slice(), [Condition::Compare(_), Condition::Compare(_), Condition::Any(_)]));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_stumble(text in "(SELECT |FROM |WHERE |AND |OR |NOT |IN |\\(|\\)|'|\\\\|=|Id|é|1|,| ){0,40}") {
            let _ = read(&text);
        }
    }
}
