//! FHIRPath syntax nodes -> [`Expression`]. Which functions exist is decided by the plan's compiler.

use fml_syntax::{SyntaxKind, SyntaxNode, ast};

use super::map::{Call, Expression, Kind};
use super::read::Reader;

/// Nesting an expression may have; deeper ones are refused, since reading them recurses.
const DEPTH_MAX: u32 = 96;

impl Reader<'_> {
    pub(super) fn expression(&mut self, node: &SyntaxNode) -> Expression {
        self.expression_at(node, 0)
    }

    fn expression_at(&mut self, node: &SyntaxNode, depth: u32) -> Expression {
        let place = self.place(node);
        let kind = if depth > DEPTH_MAX {
            self.error(
                "expression-depth",
                node,
                format!("more than {DEPTH_MAX} nested parts"),
                "split the rule",
            );
            Kind::Empty
        } else {
            self.kind(node, depth + 1)
        };
        Expression { kind, place }
    }

    fn kind(&mut self, node: &SyntaxNode, depth: u32) -> Kind {
        let parts: Vec<SyntaxNode> = node.children().filter(is_expression).collect();
        let token = tokens(node).next();
        match (node.kind(), parts.as_slice()) {
            (SyntaxKind::ParenExpr, [inner]) => self.expression_at(inner, depth).kind,
            (SyntaxKind::Literal, _) => self.literal(node),
            (SyntaxKind::Quantity, _) => {
                let mut parts = tokens(node).map(|token| plain(&token));
                Kind::Quantity(parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            (SyntaxKind::NullLiteral, _) => Kind::Empty,
            (SyntaxKind::ExternalConstant, _) => {
                Kind::Variable(tokens(node).nth(1).map(|t| plain(&t)).unwrap_or_default())
            }
            (SyntaxKind::NameRef, _) => match token {
                Some(t) if t.text() == "$this" => Kind::This,
                Some(t) if t.text() == "$total" => Kind::Total,
                Some(t) if t.text() == "$index" => Kind::Place,
                Some(t) if t.kind() == SyntaxKind::DollarIdent => {
                    self.error(
                        "function-unsupported",
                        node,
                        format!("`{}` is not supported", t.text()),
                        "use `$this`, `$index` or `$total`",
                    );
                    Kind::Empty
                }
                Some(t) => Kind::Name(plain(&t)),
                None => Kind::Empty,
            },
            (SyntaxKind::CallExpr, _) => Kind::Function(None, self.call(node, depth)),
            (SyntaxKind::MemberExpr, [base, member]) => {
                let base = Box::new(self.expression_at(base, depth));
                match member.kind() {
                    SyntaxKind::CallExpr => Kind::Function(Some(base), self.call(member, depth)),
                    _ => Kind::Member(base, tokens(member).next().map(|t| plain(&t)).unwrap_or_default()),
                }
            }
            (SyntaxKind::IndexExpr, [base, index]) => Kind::Index(
                Box::new(self.expression_at(base, depth)),
                Box::new(self.expression_at(index, depth)),
            ),
            (SyntaxKind::PrefixExpr, [base]) => match token {
                Some(t) if t.kind() == SyntaxKind::Minus => {
                    Kind::Negative(Box::new(self.expression_at(base, depth)))
                }
                _ => self.expression_at(base, depth).kind,
            },
            (SyntaxKind::BinaryExpr, [left, right]) => Kind::Binary(
                Box::new(self.expression_at(left, depth)),
                token.map(|t| t.text().to_owned()).unwrap_or_default(),
                Box::new(self.expression_at(right, depth)),
            ),
            (SyntaxKind::TypeExpr, [base, ..]) => {
                let name = node
                    .children()
                    .find(|n| n.kind() == SyntaxKind::QualifiedName)
                    .map(|n| n.text().to_string())
                    .unwrap_or_default();
                let operator = token.map(|t| t.text().to_owned()).unwrap_or_default();
                Kind::Type(Box::new(self.expression_at(base, depth)), operator, name)
            }
            _ => {
                self.error("expression-unsupported", node, "this expression is not supported".to_owned(), "");
                Kind::Empty
            }
        }
    }

    pub(super) fn literal(&mut self, node: &SyntaxNode) -> Kind {
        let Some(token) = tokens(node).next() else { return Kind::Empty };
        match token.kind() {
            SyntaxKind::Integer | SyntaxKind::Decimal => Kind::Number(token.text().to_owned()),
            SyntaxKind::Ident => Kind::Boolean(token.text() == "true"),
            SyntaxKind::SingleQuotedString
            | SyntaxKind::DoubleQuotedString
            | SyntaxKind::TripleQuotedString => Kind::Text(plain(&token)),
            SyntaxKind::Date | SyntaxKind::DateTime | SyntaxKind::Time => {
                Kind::Moment(token.text().trim_start_matches('@').to_owned())
            }
            _ => {
                self.error("expression-unsupported", node, format!("literal `{}`", token.text()), "");
                Kind::Empty
            }
        }
    }

    fn call(&mut self, node: &SyntaxNode, depth: u32) -> Call {
        let name = tokens(node).next().map(|t| plain(&t)).unwrap_or_default();
        let arguments: Vec<SyntaxNode> = node
            .children()
            .filter(|n| n.kind() == SyntaxKind::ArgumentList)
            .flat_map(|list| list.children().filter(is_expression).collect::<Vec<_>>())
            .collect();
        Call {
            name,
            arguments: arguments.iter().map(|argument| self.expression_at(argument, depth)).collect(),
            place: self.place(node),
        }
    }
}

fn is_expression(node: &SyntaxNode) -> bool {
    <ast::Expr as fml_syntax::AstNode>::can_cast(node.kind())
}

pub(super) fn tokens(node: &SyntaxNode) -> impl Iterator<Item = fml_syntax::SyntaxToken> + use<> {
    node.children_with_tokens()
        .filter_map(|element| element.into_token())
        .filter(|token| !token.kind().is_trivia())
}

/// A token's text without quotes or backticks, escapes resolved.
fn plain(token: &fml_syntax::SyntaxToken) -> String {
    match token.kind() {
        SyntaxKind::SingleQuotedString
        | SyntaxKind::DoubleQuotedString
        | SyntaxKind::TripleQuotedString
        | SyntaxKind::DelimitedIdent => ast::unescape(token.text()),
        _ => token.text().to_owned(),
    }
}
