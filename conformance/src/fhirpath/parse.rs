//! Text to expression: tokens, then precedence climbing. Source: FHIRPath N1 (2.0.0) grammar and section 6.8, Precedence

use super::{Expr, FhirPathError, Function, Operator};

/// Parentheses, arguments and operands inside each other; keeps a hostile text from exhausting the stack.
const DEPTH_MAX: usize = 64;

/// Steps and operators of one expression: each is a call inside another when it is evaluated. The longest invariant of
/// R4 has a third of this.
const LINKS_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Quoted(String),
    Text(String),
    Number(String),
    Variable(String),
    This(String),
    Symbol(&'static str),
}

const SYMBOLS: &[&str] = &[
    "!=", "!~", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "+", "-", "*", "/", "|", "&", "<", ">",
    "=", "~",
];

pub(super) fn parse(text: &str) -> Result<Expr, FhirPathError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, links: 0 };
    let expr = parser.expression(0)?;
    if parser.at < parser.tokens.len() { Err(FhirPathError::Syntax) } else { Ok(expr) }
}

fn tokens(text: &str) -> Result<Vec<Token>, FhirPathError> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").ok_or(FhirPathError::Syntax)?.1;
        } else if first == '\'' || first == '`' {
            let (text, after) = quoted(rest, first)?;
            out.push(if first == '`' { Token::Quoted(text) } else { Token::Text(text) });
            rest = after;
        } else if first.is_ascii_digit() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let fraction = rest.get(digits..).and_then(|after| after.strip_prefix('.')).map_or(0, |after| {
                let length = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                if length > 0 { length + 1 } else { 0 }
            });
            let (number, after) = rest.split_at(digits + fraction);
            out.push(Token::Number(number.to_owned()));
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' || first == '$' || first == '%' {
            if let Some(after) = rest.strip_prefix("%`") {
                let (name, after) =
                    quoted(&format!("`{after}"), '`').map(|(name, after)| (name, after.len()))?;
                out.push(Token::Variable(name));
                rest = rest.get(rest.len() - after..).unwrap_or_default();
                continue;
            }
            let skip = usize::from(matches!(first, '$' | '%'));
            let end = rest.get(skip..).and_then(|r| r.find(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
            let (name, after) = rest.split_at(end.map_or(rest.len(), |end| end + skip));
            let bare = name.get(skip..).unwrap_or_default().to_owned();
            out.push(match first {
                '$' => Token::This(bare),
                '%' => Token::Variable(bare),
                _ => Token::Name(bare),
            });
            rest = after;
        } else {
            let symbol =
                SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)).ok_or(FhirPathError::Syntax)?;
            out.push(Token::Symbol(symbol));
            rest = rest.get(symbol.len()..).unwrap_or_default();
        }
    }
    Ok(out)
}

/// A quoted text with its escapes resolved, and what follows it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), FhirPathError> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((out, text.get(at + 1..).unwrap_or_default()));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next().ok_or(FhirPathError::Syntax)?.1 {
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'f' => out.push('\u{C}'),
            'u' => {
                let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                out.push(code.ok_or(FhirPathError::Syntax)?);
            }
            other => out.push(other),
        }
    }
    Err(FhirPathError::Syntax)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    links: usize,
}

/// How tightly an operator binds, loosest first.
fn binary(token: &Token) -> Option<(u8, Operator)> {
    use Operator as O;
    Some(match token {
        Token::Name(name) => match name.as_str() {
            "implies" => (1, O::Implies),
            "or" => (2, O::Or),
            "xor" => (2, O::Xor),
            "and" => (3, O::And),
            "in" => (4, O::In),
            "contains" => (4, O::Contains),
            "is" => (8, O::Is),
            "as" => (8, O::As),
            "div" => (10, O::Div),
            "mod" => (10, O::Mod),
            _ => return None,
        },
        Token::Symbol(symbol) => match *symbol {
            "=" => (5, O::Equal),
            "!=" => (5, O::NotEqual),
            "<" => (6, O::Less),
            ">" => (6, O::Greater),
            "<=" => (6, O::LessOrEqual),
            ">=" => (6, O::GreaterOrEqual),
            "|" => (7, O::Union),
            "+" => (9, O::Plus),
            "-" => (9, O::Minus),
            "&" => (9, O::Concatenate),
            "*" => (10, O::Times),
            "/" => (10, O::Divide),
            _ => return None,
        },
        _ => return None,
    })
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(next)) if *next == symbol);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, symbol: &str) -> Result<(), FhirPathError> {
        if self.take(symbol) { Ok(()) } else { Err(FhirPathError::Syntax) }
    }

    /// Counts one more step or operator.
    fn link(&mut self) -> Result<(), FhirPathError> {
        self.links += 1;
        if self.links > LINKS_MAX { Err(FhirPathError::TooDeep) } else { Ok(()) }
    }

    fn expression(&mut self, least: u8) -> Result<Expr, FhirPathError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(FhirPathError::TooDeep);
        }
        let mut left = self.unary()?;
        while let Some((binds, operator)) = self.peek().and_then(binary) {
            if binds < least {
                break;
            }
            self.at += 1;
            self.link()?;
            left = if matches!(operator, Operator::Is | Operator::As) {
                Expr::Type(operator, Box::new(left), self.type_name()?)
            } else {
                let right = self.expression(binds + 1)?;
                Expr::Binary(operator, Box::new(left), Box::new(right))
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, FhirPathError> {
        if self.take("-") {
            let zero = Expr::Number("0".to_owned());
            return Ok(Expr::Binary(Operator::Minus, Box::new(zero), Box::new(self.invocations()?)));
        }
        self.take("+");
        self.invocations()
    }

    fn invocations(&mut self) -> Result<Expr, FhirPathError> {
        let mut expr = self.term()?;
        loop {
            if self.take(".") {
                let Some(token) = self.peek().cloned() else { return Err(FhirPathError::Syntax) };
                self.at += 1;
                self.link()?;
                expr = self.invocation(Box::new(expr), token)?;
            } else if self.take("[") {
                self.link()?;
                let index = self.expression(0)?;
                self.need("]")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else {
                return Ok(expr);
            }
        }
    }

    fn invocation(&mut self, of: Box<Expr>, token: Token) -> Result<Expr, FhirPathError> {
        match token {
            Token::Name(name) if self.take("(") => {
                let function = Function::named(&name).ok_or(FhirPathError::Function(name))?;
                if matches!(function, Function::Is | Function::As | Function::OfType) {
                    let type_name = self.type_name()?;
                    self.need(")")?;
                    return Ok(match function {
                        Function::Is => Expr::Type(Operator::Is, of, type_name),
                        Function::As => Expr::Type(Operator::As, of, type_name),
                        _ => Expr::OfType(of, type_name),
                    });
                }
                let mut arguments = Vec::new();
                if !self.take(")") {
                    loop {
                        arguments.push(self.expression(0)?);
                        if self.take(")") {
                            break;
                        }
                        self.need(",")?;
                    }
                }
                if !function.takes().contains(&arguments.len()) {
                    return Err(FhirPathError::Syntax);
                }
                Ok(Expr::Call(of, function, arguments))
            }
            Token::Name(name) | Token::Quoted(name) => Ok(Expr::Child(of, name)),
            _ => Err(FhirPathError::Syntax),
        }
    }

    fn term(&mut self) -> Result<Expr, FhirPathError> {
        let token = self.peek().cloned().ok_or(FhirPathError::Syntax)?;
        self.at += 1;
        match token {
            Token::Symbol("(") => {
                let expr = self.expression(0)?;
                self.need(")")?;
                Ok(expr)
            }
            Token::Symbol("{") => self.need("}").map(|()| Expr::Empty),
            Token::Text(text) => Ok(Expr::Text(text)),
            Token::Number(number) => Ok(Expr::Number(number)),
            Token::Variable(name) => match name.as_str() {
                "resource" | "rootResource" | "context" | "ucum" | "sct" | "loinc" => {
                    Ok(Expr::Variable(name))
                }
                _ => Err(FhirPathError::Variable(name)),
            },
            Token::This(name) if name == "this" => Ok(Expr::This),
            Token::Name(name) if name == "true" || name == "false" => Ok(Expr::Bool(name == "true")),
            Token::Name(name) if !matches!(self.peek(), Some(Token::Symbol("("))) => Ok(Expr::Start(name)),
            Token::Quoted(name) => Ok(Expr::Child(Box::new(Expr::This), name)),
            Token::Name(name) => self.invocation(Box::new(Expr::This), Token::Name(name)),
            _ => Err(FhirPathError::Syntax),
        }
    }

    fn type_name(&mut self) -> Result<String, FhirPathError> {
        let mut name = None;
        while let Some(Token::Name(part) | Token::Quoted(part)) = self.peek().cloned() {
            self.at += 1;
            name = Some(part);
            if !self.take(".") {
                break;
            }
        }
        name.ok_or(FhirPathError::Syntax)
    }
}
