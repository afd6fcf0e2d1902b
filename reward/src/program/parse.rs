//! From text to a [`Program`]: a recursive-descent reader whose errors say where.

use super::expression::{
    Binary, Expression, LARGEST, MAX_NESTING, MAX_NODES, MAX_TEXT, Part, Unary,
};
use super::source::{Definition, Program, Term};

/// What is wrong with the text of a program, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ProgramError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    /// A name between backquotes, never a word of the language.
    Quoted(String),
    Sign(&'static str),
    Newline,
    End,
}

/// Longer signs before the ones they begin with.
const SIGNS: [&str; 19] = [
    "<=", ">=", "&&", "||", "..", "+", "-", "*", "/", "<", ">", "!", "(", ")", "[", "]", ",", "=",
    ":",
];

struct Reader {
    tokens: Vec<(Token, usize)>,
    next: usize,
    nodes: usize,
    nesting: usize,
    /// What is read, for the places of mistakes.
    text: String,
}

type Reading<T> = Result<T, ProgramError>;

/// Reads a program.
pub(super) fn program(text: &str) -> Reading<Program> {
    let mut reader = Reader::new(text)?;
    let (mut definitions, mut terms) = (Vec::<Definition>::new(), Vec::<Term>::new());
    loop {
        while reader.peek() == &Token::Newline {
            reader.advance();
        }
        if reader.peek() == &Token::End {
            break;
        }
        let start = reader.position();
        let is_definition = reader.peek() == &Token::Name("let".into());
        if is_definition {
            reader.advance();
        }
        let (name, at) =
            reader.name("a name: a term is written `reach = -distance(hand, block)`")?;
        let taken =
            definitions.iter().any(|d| d.name == name) || terms.iter().any(|t| t.name == name);
        if taken {
            return Err(reader.error(
                at,
                format!("`{name}` is there already; give each its own name"),
            ));
        }
        if reader.peek() == &Token::Sign(":") {
            reader.advance();
        } else {
            reader.expect("=")?;
        }
        let value = reader.expression(1)?;
        match reader.peek() {
            Token::Newline | Token::End => {}
            _ => return Err(reader.unexpected("the end of the line")),
        }
        if is_definition {
            if !terms.is_empty() {
                let message = "names are given before the first term; move this line up";
                return Err(reader.error(start, message.into()));
            }
            definitions.push(Definition { name, value });
        } else {
            terms.push(Term { name, value });
        }
    }
    if terms.is_empty() {
        let end = reader.position();
        return Err(reader.error(
            end,
            "there is no term; write at least one line `name = expression`".into(),
        ));
    }
    Ok(Program { definitions, terms })
}

/// Reads a single expression.
pub(super) fn expression(text: &str) -> Reading<Expression> {
    let mut reader = Reader::new(text)?;
    let value = reader.expression(1)?;
    while reader.peek() == &Token::Newline {
        reader.advance();
    }
    if reader.peek() == &Token::End {
        Ok(value)
    } else {
        Err(reader.unexpected("the end"))
    }
}

impl Reader {
    fn new(text: &str) -> Reading<Self> {
        let mut reader = Self {
            tokens: Vec::new(),
            next: 0,
            nodes: 0,
            nesting: 0,
            text: text.to_owned(),
        };
        if text.len() > MAX_TEXT {
            return Err(reader.error(
                0,
                format!(
                    "the program is {} bytes long; {MAX_TEXT} are the most",
                    text.len()
                ),
            ));
        }
        let mut at = 0;
        // Inside brackets a line may go on below.
        let mut open = 0usize;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let start = at;
            let token = if c == '\n' || c == ';' {
                at += 1;
                if open > 0 && c == '\n' {
                    continue;
                }
                Token::Newline
            } else if c.is_whitespace() {
                at += c.len_utf8();
                continue;
            } else if c == '#' {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            } else if c.is_ascii_digit()
                || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit()))
            {
                let length = number_length(rest);
                at += length;
                match rest[..length].parse::<f64>() {
                    Ok(n) if n <= LARGEST => Token::Number(n),
                    _ => return Err(reader.error(start, format!("numbers go up to {LARGEST:e}"))),
                }
            } else if c.is_ascii_alphabetic() || c == '_' {
                let length = name_length(rest);
                at += length;
                Token::Name(rest[..length].into())
            } else if c == '`' {
                let name = rest[1..].split(['`', '\n']).next().unwrap_or_default();
                if !rest[1 + name.len()..].starts_with('`') {
                    return Err(reader.error(start, "the name has no closing `".into()));
                }
                if !super::expression::is_writable_name(name) {
                    return Err(reader.error(start, "this cannot be a name".into()));
                }
                at += name.len() + 2;
                Token::Quoted(name.into())
            } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                at += sign.len();
                match *sign {
                    "(" | "[" => open += 1,
                    ")" | "]" => open = open.saturating_sub(1),
                    _ => {}
                }
                Token::Sign(sign)
            } else {
                return Err(reader.error(
                    start,
                    format!("`{}` has no meaning here", c.escape_default()),
                ));
            };
            reader.tokens.push((token, start));
        }
        reader.tokens.push((Token::End, text.len()));
        Ok(reader)
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn position(&self) -> usize {
        self.tokens[self.next].1
    }

    /// The last token, the end, stays.
    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    fn error(&self, at: usize, message: String) -> ProgramError {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        ProgramError {
            line,
            column,
            message,
        }
    }

    fn unexpected(&self, wanted: &str) -> ProgramError {
        let found = match self.peek() {
            Token::Number(n) => format!("the number {n}"),
            Token::Name(name) | Token::Quoted(name) => format!("`{name}`"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Newline => "the end of the line".into(),
            Token::End => "the end".into(),
        };
        self.error(
            self.position(),
            format!("{found} stands where {wanted} belongs"),
        )
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(s) if *s == sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Reading<()> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{sign}`")))
        }
    }

    fn name(&mut self, wanted: &str) -> Reading<(String, usize)> {
        let at = self.position();
        match self.peek().clone() {
            Token::Quoted(name) => {
                self.advance();
                Ok((name, at))
            }
            Token::Name(name) if name != "let" && name != "if" => {
                self.advance();
                Ok((name, at))
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    fn node(&mut self, expression: Expression) -> Reading<Expression> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the program has more than {MAX_NODES} parts; make it smaller");
            return Err(self.error(self.position(), message));
        }
        Ok(expression)
    }

    /// One level deeper for as long as `read` runs.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Reading<T>) -> Reading<T> {
        if self.nesting == MAX_NESTING {
            let message = format!(
                "brackets and signs nest deeper than {MAX_NESTING}; give inner parts names with `let`"
            );
            return Err(self.error(self.position(), message));
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    /// Operations that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Reading<Expression> {
        let mut left = self.prefix()?;
        loop {
            let op = Binary::INFIX
                .into_iter()
                .find(|op| matches!(self.peek(), Token::Sign(s) if *s == op.symbol()));
            let Some((op, precedence)) = op.and_then(|op| Some((op, op.precedence()?))) else {
                return Ok(left);
            };
            if precedence < least {
                return Ok(left);
            }
            self.advance();
            let right = self.expression(precedence + 1)?;
            left = self.node(Expression::binary(op, left, right))?;
        }
    }

    fn prefix(&mut self) -> Reading<Expression> {
        if self.take("-") {
            if let Token::Number(n) = *self.peek() {
                self.advance();
                return self.node(Expression::Number(-n));
            }
            let x = self.nested(Self::prefix)?;
            return self.node(Expression::unary(Unary::Negate, x));
        }
        if self.take("!") {
            let x = self.nested(Self::prefix)?;
            return self.node(Expression::unary(Unary::Not, x));
        }
        self.primary()
    }

    fn primary(&mut self) -> Reading<Expression> {
        let at = self.position();
        match self.peek().clone() {
            Token::Number(n) => {
                self.advance();
                self.node(Expression::Number(n))
            }
            Token::Sign("(") => {
                self.advance();
                let inner = self.nested(|r| r.expression(1))?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.advance();
                let items = self.list("]")?;
                if items.is_empty() {
                    return Err(self.error(at, "a row needs at least one number".into()));
                }
                self.node(Expression::Row(items))
            }
            Token::Name(name) if self.tokens[self.next + 1].0 == Token::Sign("(") => {
                self.advance();
                self.advance();
                let arguments = self.list(")")?;
                self.call(&name, arguments, at)
            }
            Token::Name(_) | Token::Quoted(_) => {
                let (name, _) = self.name("a value")?;
                let part = if self.take("[") {
                    self.part()?
                } else {
                    Part::Whole
                };
                self.node(Expression::Name { name, part })
            }
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Expressions between commas up to the closing sign.
    fn list(&mut self, close: &str) -> Reading<Vec<Expression>> {
        let mut items = Vec::new();
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(self.nested(|r| r.expression(1))?);
            if self.take(close) {
                return Ok(items);
            }
            if !self.take(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }

    fn call(&mut self, name: &str, arguments: Vec<Expression>, at: usize) -> Reading<Expression> {
        let count = arguments.len();
        let wrong = |wanted: usize| format!("`{name}` takes {wanted} values, here are {count}");
        if let Some(op) = Unary::FUNCTIONS.into_iter().find(|op| op.symbol() == name) {
            let Ok([x]) = <[Expression; 1]>::try_from(arguments) else {
                return Err(self.error(at, format!("`{name}` takes one value, here are {count}")));
            };
            return self.node(Expression::unary(op, x));
        }
        if let Some(op) = Binary::FUNCTIONS.into_iter().find(|op| op.symbol() == name) {
            let Ok([a, b]) = <[Expression; 2]>::try_from(arguments) else {
                return Err(self.error(at, wrong(2)));
            };
            return self.node(Expression::binary(op, a, b));
        }
        if name == "if" {
            let Ok(parts) = <[Expression; 3]>::try_from(arguments) else {
                return Err(self.error(at, wrong(3)));
            };
            return self.node(Expression::If(Box::new(parts)));
        }
        let known: Vec<&str> = Unary::FUNCTIONS
            .iter()
            .map(|op| op.symbol())
            .chain(Binary::FUNCTIONS.iter().map(|op| op.symbol()))
            .chain(["if"])
            .collect();
        Err(self.error(
            at,
            format!(
                "there is no function `{name}`; there are {}",
                known.join(", ")
            ),
        ))
    }

    /// After `[`: `3]` or `0..3]`.
    fn part(&mut self) -> Reading<Part> {
        let from = self.index()?;
        let part = if self.take("..") {
            let at = self.position();
            let to = self.index()?;
            if to <= from {
                return Err(self.error(
                    at,
                    format!("the range {from}..{to} is empty; the end is not included"),
                ));
            }
            Part::Range(from, to)
        } else {
            Part::At(from)
        };
        self.expect("]")?;
        Ok(part)
    }

    fn index(&mut self) -> Reading<usize> {
        match *self.peek() {
            Token::Number(n) if n.fract() == 0.0 && n < 1e9 => {
                self.advance();
                Ok(n as usize)
            }
            _ => Err(self.unexpected("a whole number")),
        }
    }
}

/// Length of the number that a text begins with. Two dots end it: they are a range's.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && bytes.get(length + 1) != Some(&b'.') {
        length += 1 + digits(length + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(length) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// Length of the name that a text begins with. A dot belongs to it only when a letter follows.
fn name_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let mut length = 0;
    while let Some(&b) = bytes.get(length) {
        let inside = letter(b) || b.is_ascii_digit();
        let dot = b == b'.' && bytes.get(length + 1).is_some_and(|&next| letter(next));
        if !inside && !dot {
            break;
        }
        length += 1;
    }
    length
}
