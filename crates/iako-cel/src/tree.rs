//! Expressions as trees, however they were written.
//!
//! Source: `google.api.expr.v1alpha1.Expr`, which is how trees travel.

/// An expression. Operators are calls by the names that the protocol gives them: `_==_`, `_&&_`,
/// `_?_:_`, `_[_]`, `!_`, `-_`, `@in`.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// A value that is written down.
    Literal(Literal),
    /// A name.
    Name(String),
    /// A field of something: `operand.field`.
    Select {
        /// Of what.
        operand: Box<Self>,
        /// Which field.
        field: String,
        /// Whether it is only asked if there is one: `has(operand.field)`.
        is_test: bool,
    },
    /// A function or operator.
    Call {
        /// What stands before the point: `target.function()`.
        target: Option<Box<Self>>,
        /// Its name.
        function: String,
        /// What stands in the parentheses.
        arguments: Vec<Self>,
    },
    /// `[a, b]`.
    List(Vec<Self>),
    /// `{a: b}`, or a message where it has a name.
    Map {
        /// The message's name; empty for maps.
        message: String,
        /// Keys and values.
        entries: Vec<Entry>,
    },
    /// Going through a list or the keys of a map.
    Fold(Box<Fold>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Tree,
    /// The value.
    pub value: Tree,
}

/// Going through a list. Source: `google.api.expr.v1alpha1.Expr.Comprehension`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    /// The name of the element.
    pub element: String,
    /// What is gone through.
    pub range: Tree,
    /// The name of what is made on the way.
    pub made: String,
    /// What that is at the beginning.
    pub initial: Tree,
    /// Goes on while it holds.
    pub condition: Tree,
    /// What it becomes with an element.
    pub step: Tree,
    /// What comes of it at the end.
    pub result: Tree,
}

/// A value that is written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative: `1u`.
    Uint(u64),
    /// A number with a point.
    Double(f64),
    /// A text.
    Text(String),
    /// Bytes: `b'…'`.
    Bytes(Vec<u8>),
    /// A duration in nanoseconds, which only trees can hold.
    Duration(i128),
    /// A moment in nanoseconds since 1970, which only trees can hold.
    Timestamp(i128),
}

impl Tree {
    /// A call without a target.
    pub(crate) fn call(function: &str, arguments: Vec<Self>) -> Self {
        Self::Call { target: None, function: function.to_owned(), arguments }
    }

    /// A name.
    pub(crate) fn name(name: &str) -> Self {
        Self::Name(name.to_owned())
    }

    /// `true`.
    pub(crate) const fn truth() -> Self {
        Self::Literal(Literal::Bool(true))
    }

    /// `false`.
    pub(crate) const fn falsehood() -> Self {
        Self::Literal(Literal::Bool(false))
    }

    pub(crate) fn int(value: i64) -> Self {
        Self::Literal(Literal::Int(value))
    }
}
