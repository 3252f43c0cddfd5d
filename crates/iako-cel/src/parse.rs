//! Words into a tree. Source: the CEL specification, "Syntax" and "Macros".

use crate::lex::{Token, words};
use crate::limits::{DEPTH_MAX, NODES_MAX, TEXT_BYTES_MAX};
use crate::tree::{Entry, Fold, Literal, Tree};

/// Why a text is no expression: what, and where in bytes.
pub(crate) type ParseError = (String, usize);

/// Words that are no names.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "null",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// What folds make on their way; no name in a text can be this.
const MADE: &str = "@result";

/// A tree, and how deep it is.
struct Part {
    tree: Tree,
    depth: usize,
}

/// Reads a whole expression.
pub(crate) fn parse(text: &str) -> Result<Tree, ParseError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err((format!("is longer than {TEXT_BYTES_MAX} bytes"), 0));
    }
    let mut parser = Parser { words: words(text)?, next: 0, open: 0, nodes: 0 };
    let part = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(part.tree),
        Token::Name(_) | Token::Literal(_) | Token::Sign(_) => {
            Err(parser.problem("something stands behind the expression"))
        }
    }
}

struct Parser {
    words: Vec<(Token, usize)>,
    next: usize,
    /// Parts that have begun and not ended.
    open: usize,
    nodes: usize,
}

/// Binary operators, how strongly they bind, and what they call.
const BINARY: [(&str, u8, &str); 13] = [
    ("==", 3, "_==_"),
    ("!=", 3, "_!=_"),
    ("<", 3, "_<_"),
    ("<=", 3, "_<=_"),
    (">", 3, "_>_"),
    (">=", 3, "_>=_"),
    ("in", 3, "@in"),
    ("+", 4, "_+_"),
    ("-", 4, "_-_"),
    ("*", 5, "_*_"),
    ("/", 5, "_/_"),
    ("%", 5, "_%_"),
    ("", 0, ""),
];

impl Parser {
    fn peek(&self) -> &Token {
        self.words.get(self.next).map_or(&Token::End, |(word, _)| word)
    }

    fn problem(&self, problem: &str) -> ParseError {
        let at = self.words.get(self.next).or_else(|| self.words.last());
        (problem.to_owned(), at.map_or(0, |(_, at)| *at))
    }

    fn advance(&mut self) {
        self.next = self.next.saturating_add(1);
    }

    /// Takes a sign where it stands next.
    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(next) if *next == sign);
        if found {
            self.advance();
        }
        found
    }

    fn wants(&mut self, sign: &str) -> Result<(), ParseError> {
        if self.takes(sign) { Ok(()) } else { Err(self.problem(&format!("`{sign}` is missing"))) }
    }

    /// A part over others, counted.
    fn part(&mut self, tree: Tree, below: usize) -> Result<Part, ParseError> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX {
            return Err(self.problem(&format!("has more than {NODES_MAX} parts")));
        }
        let depth = below.saturating_add(1);
        if depth > DEPTH_MAX {
            return Err(self.problem(&format!("is nested deeper than {DEPTH_MAX}")));
        }
        Ok(Part { tree, depth })
    }

    fn expression(&mut self) -> Result<Part, ParseError> {
        self.open = self.open.saturating_add(1);
        if self.open > DEPTH_MAX {
            return Err(self.problem(&format!("is nested deeper than {DEPTH_MAX}")));
        }
        let part = self.ternary();
        self.open = self.open.saturating_sub(1);
        part
    }

    fn ternary(&mut self) -> Result<Part, ParseError> {
        let condition = self.chain("||")?;
        if !self.takes("?") {
            return Ok(condition);
        }
        let yes = self.chain("||")?;
        self.wants(":")?;
        let no = self.expression()?;
        let below = condition.depth.max(yes.depth).max(no.depth);
        self.part(Tree::call("_?_:_", vec![condition.tree, yes.tree, no.tree]), below)
    }

    /// Parts joined by `&&` or `||`, as a balanced tree: long lists of conditions stay flat.
    fn chain(&mut self, sign: &'static str) -> Result<Part, ParseError> {
        let mut parts = Vec::new();
        loop {
            parts.push(if sign == "||" { self.chain("&&")? } else { self.binary(0)? });
            if !self.takes(sign) {
                break;
            }
        }
        let function = if sign == "||" { "_||_" } else { "_&&_" };
        while parts.len() > 1 {
            let mut joined = Vec::with_capacity(parts.len().div_ceil(2));
            let mut ones = parts.into_iter();
            while let Some(left) = ones.next() {
                joined.push(match ones.next() {
                    Some(right) => {
                        let below = left.depth.max(right.depth);
                        self.part(Tree::call(function, vec![left.tree, right.tree]), below)?
                    }
                    None => left,
                });
            }
            parts = joined;
        }
        parts.pop().ok_or_else(|| self.problem("an expression is missing"))
    }

    fn binary(&mut self, least: u8) -> Result<Part, ParseError> {
        let mut left = self.unary()?;
        loop {
            let sign = match self.peek() {
                Token::Sign(sign) => *sign,
                Token::Name(name) if name == "in" => "in",
                Token::Name(_) | Token::Literal(_) | Token::End => return Ok(left),
            };
            let found = BINARY.iter().find(|(own, ..)| *own == sign);
            let Some((_, strength, function)) = found.filter(|(_, strength, _)| *strength > least)
            else {
                return Ok(left);
            };
            self.advance();
            let right = self.binary(*strength)?;
            let below = left.depth.max(right.depth);
            left = self.part(Tree::call(function, vec![left.tree, right.tree]), below)?;
        }
    }

    fn unary(&mut self) -> Result<Part, ParseError> {
        let mut signs: Vec<&'static str> = Vec::new();
        loop {
            if self.takes("!") {
                signs.push("!_");
            } else if self.takes("-") {
                signs.push("-_");
            } else {
                break;
            }
            if signs.len() > DEPTH_MAX {
                return Err(self.problem(&format!("is nested deeper than {DEPTH_MAX}")));
            }
        }
        let mut part = match (self.peek(), signs.last()) {
            (Token::Literal(Literal::Int(value)), Some(&"-_")) => {
                let negative = value.wrapping_neg();
                signs.pop();
                self.advance();
                let part = self.part(Tree::int(negative), 0)?;
                self.members(part)?
            }
            (Token::Literal(Literal::Double(value)), Some(&"-_")) => {
                let negative = -value;
                signs.pop();
                self.advance();
                let part = self.part(Tree::Literal(Literal::Double(negative)), 0)?;
                self.members(part)?
            }
            (Token::Literal(_) | Token::Name(_) | Token::Sign(_) | Token::End, _) => {
                let part = self.primary()?;
                self.members(part)?
            }
        };
        while let Some(function) = signs.pop() {
            part = self.part(Tree::call(function, vec![part.tree]), part.depth)?;
        }
        Ok(part)
    }

    /// What follows a part: fields, calls and indices.
    fn members(&mut self, mut part: Part) -> Result<Part, ParseError> {
        loop {
            if self.takes(".") {
                let Token::Name(field) = self.peek().clone() else {
                    return Err(self.problem("a name has to follow `.`"));
                };
                self.advance();
                part = if self.takes("(") {
                    self.call(Some(part), &field)?
                } else {
                    self.reserved(&field)?;
                    let operand = Box::new(part.tree);
                    self.part(Tree::Select { operand, field, is_test: false }, part.depth)?
                };
            } else if self.takes("[") {
                let index = self.expression()?;
                self.wants("]")?;
                let below = part.depth.max(index.depth);
                part = self.part(Tree::call("_[_]", vec![part.tree, index.tree]), below)?;
            } else {
                return Ok(part);
            }
        }
    }

    fn reserved(&self, name: &str) -> Result<(), ParseError> {
        if RESERVED.contains(&name) {
            return Err(self.problem(&format!("`{name}` is no name")));
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Part, ParseError> {
        match self.peek().clone() {
            Token::Literal(Literal::Int(i64::MIN)) => {
                Err(self.problem("the number is larger than an int can be"))
            }
            Token::Literal(literal) => {
                self.advance();
                self.part(Tree::Literal(literal), 0)
            }
            Token::Name(name) => {
                self.advance();
                let literal = match name.as_str() {
                    "true" => Some(Literal::Bool(true)),
                    "false" => Some(Literal::Bool(false)),
                    "null" => Some(Literal::Null),
                    _ => None,
                };
                if let Some(literal) = literal {
                    return self.part(Tree::Literal(literal), 0);
                }
                self.reserved(&name)?;
                if self.takes("(") {
                    return self.call(None, &name);
                }
                self.part(Tree::Name(name), 0)
            }
            Token::Sign("(") => {
                self.advance();
                let part = self.expression()?;
                self.wants(")")?;
                Ok(part)
            }
            // A name that begins at the outermost: there is nothing else here.
            Token::Sign(".") => {
                self.advance();
                let Token::Name(_) = self.peek() else {
                    return Err(self.problem("a name has to follow `.`"));
                };
                self.primary()
            }
            Token::Sign("[") => {
                self.advance();
                let (items, depth) = self.list("]")?;
                self.part(Tree::List(items), depth)
            }
            Token::Sign("{") => {
                self.advance();
                self.map()
            }
            Token::Sign(sign) => Err(self.problem(&format!("nothing begins with `{sign}`"))),
            Token::End => Err(self.problem("the expression ends too early")),
        }
    }

    /// Expressions up to a bracket, and how deep they are.
    fn list(&mut self, close: &str) -> Result<(Vec<Tree>, usize), ParseError> {
        let (mut items, mut depth) = (Vec::new(), 0);
        while !self.takes(close) {
            let item = self.expression()?;
            depth = depth.max(item.depth);
            items.push(item.tree);
            if !self.takes(",") {
                self.wants(close)?;
                break;
            }
        }
        Ok((items, depth))
    }

    fn map(&mut self) -> Result<Part, ParseError> {
        let (mut entries, mut depth) = (Vec::new(), 0);
        while !self.takes("}") {
            let key = self.expression()?;
            self.wants(":")?;
            let value = self.expression()?;
            depth = depth.max(key.depth).max(value.depth);
            entries.push(Entry { key: key.tree, value: value.tree });
            if !self.takes(",") {
                self.wants("}")?;
                break;
            }
        }
        self.part(Tree::Map { message: String::new(), entries }, depth)
    }

    /// A call whose bracket was taken, or what a macro stands for.
    fn call(&mut self, target: Option<Part>, function: &str) -> Result<Part, ParseError> {
        let (mut arguments, depth) = self.list(")")?;
        if target.is_none() && function == "has" && arguments.len() == 1 {
            return match arguments.pop() {
                Some(Tree::Select { operand, field, is_test: false }) => {
                    self.part(Tree::Select { operand, field, is_test: true }, depth)
                }
                _ => Err(self.problem("`has` asks for a field: has(request.headers.name)")),
            };
        }
        let Some(target) = target else {
            return self.part(
                Tree::Call { target: None, function: function.to_owned(), arguments },
                depth,
            );
        };
        let below = target.depth.max(depth);
        if let Some(made) = self.fold_of(function, arguments.len()) {
            let fold = made(target.tree, arguments);
            let fold = fold.ok_or_else(|| self.problem("the first argument has to be a name"))?;
            // What the macro puts around counts as well.
            self.nodes = self.nodes.saturating_add(8);
            return self.part(Tree::Fold(Box::new(fold)), below.saturating_add(3));
        }
        let target = Some(Box::new(target.tree));
        self.part(Tree::Call { target, function: function.to_owned(), arguments }, below)
    }

    #[expect(clippy::unused_self, reason = "reads as its neighbours do")]
    fn fold_of(&self, function: &str, arguments: usize) -> Option<MakeFold> {
        Some(match (function, arguments) {
            ("all", 2) => all,
            ("exists", 2) => exists,
            ("exists_one", 2) => exists_one,
            ("filter", 2) => filter,
            ("map", 2) => map,
            ("map", 3) => map_some,
            _ => return None,
        })
    }
}

type MakeFold = fn(Tree, Vec<Tree>) -> Option<Fold>;

/// The name of the element, and what follows it.
fn element<const N: usize>(arguments: Vec<Tree>) -> Option<(String, [Tree; N])> {
    let mut arguments = arguments.into_iter();
    let Some(Tree::Name(element)) = arguments.next() else { return None };
    let rest: Vec<Tree> = arguments.collect();
    Some((element, rest.try_into().ok()?))
}

fn fold(element: String, range: Tree, initial: Tree, step: Tree) -> Fold {
    Fold {
        element,
        range,
        made: MADE.to_owned(),
        initial,
        condition: Tree::truth(),
        step,
        result: Tree::name(MADE),
    }
}

fn all(range: Tree, arguments: Vec<Tree>) -> Option<Fold> {
    let (element, [holds]) = element(arguments)?;
    let step = Tree::call("_&&_", vec![Tree::name(MADE), holds]);
    let condition = Tree::call("@not_strictly_false", vec![Tree::name(MADE)]);
    Some(Fold { condition, ..fold(element, range, Tree::truth(), step) })
}

fn exists(range: Tree, arguments: Vec<Tree>) -> Option<Fold> {
    let (element, [holds]) = element(arguments)?;
    let step = Tree::call("_||_", vec![Tree::name(MADE), holds]);
    let not = Tree::call("!_", vec![Tree::name(MADE)]);
    let condition = Tree::call("@not_strictly_false", vec![not]);
    Some(Fold { condition, ..fold(element, range, Tree::falsehood(), step) })
}

fn exists_one(range: Tree, arguments: Vec<Tree>) -> Option<Fold> {
    let (element, [holds]) = element(arguments)?;
    let more = Tree::call("_+_", vec![Tree::name(MADE), Tree::int(1)]);
    let step = Tree::call("_?_:_", vec![holds, more, Tree::name(MADE)]);
    let result = Tree::call("_==_", vec![Tree::name(MADE), Tree::int(1)]);
    Some(Fold { result, ..fold(element, range, Tree::int(0), step) })
}

fn appended(item: Tree) -> Tree {
    Tree::call("_+_", vec![Tree::name(MADE), Tree::List(vec![item])])
}

fn filter(range: Tree, arguments: Vec<Tree>) -> Option<Fold> {
    let (element, [holds]) = element(arguments)?;
    let kept = appended(Tree::Name(element.clone()));
    let step = Tree::call("_?_:_", vec![holds, kept, Tree::name(MADE)]);
    Some(fold(element, range, Tree::List(Vec::new()), step))
}

fn map(range: Tree, arguments: Vec<Tree>) -> Option<Fold> {
    let (element, [made]) = element(arguments)?;
    Some(fold(element, range, Tree::List(Vec::new()), appended(made)))
}

fn map_some(range: Tree, arguments: Vec<Tree>) -> Option<Fold> {
    let (element, [holds, made]) = element(arguments)?;
    let step = Tree::call("_?_:_", vec![holds, appended(made), Tree::name(MADE)]);
    Some(fold(element, range, Tree::List(Vec::new()), step))
}
