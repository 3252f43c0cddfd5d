//! Expressions, as text or as trees.

use iako_cel::{Expression, Literal, Options, Source, Tree};
use iako_xds_api::envoy::config::core::v3::CelExpressionConfig;
use iako_xds_api::google::api::expr::v1alpha1 as pb;
use iako_xds_api::xds::r#type::v3 as xds;

/// What an expression may call, where that is not the default.
pub(super) fn options(value: Options) -> Option<CelExpressionConfig> {
    (value != Options::default()).then_some(CelExpressionConfig {
        enable_string_conversion: value.string_conversion,
        enable_string_concat: value.string_concat,
        enable_string_functions: value.string_functions,
    })
}

/// The text; none where it was a tree.
pub(super) fn text(value: &Expression) -> Option<&str> {
    match value.source() {
        Source::Text(text) => Some(text),
        Source::Tree(_) => None,
    }
}

/// The tree; none where it was a text.
pub(super) fn tree(value: &Expression) -> Option<pb::Expr> {
    match value.source() {
        Source::Text(_) => None,
        Source::Tree(tree) => Some(Parts { next: 1 }.part(tree)),
    }
}

/// An expression in the form in which it was given.
pub(super) fn any(value: &Expression) -> xds::CelExpression {
    let parsed = tree(value).map(|expr| {
        let parsed = pb::ParsedExpr { expr: Some(expr), source_info: None };
        xds::cel_expression::ExprSpecifier::ParsedExpr(parsed)
    });
    xds::CelExpression {
        cel_expr_string: text(value).unwrap_or_default().to_owned(),
        expr_specifier: parsed,
        ..Default::default()
    }
}

/// Every part has a number of its own.
struct Parts {
    next: i64,
}

impl Parts {
    fn id(&mut self) -> i64 {
        let id = self.next;
        self.next = id.saturating_add(1);
        id
    }

    fn boxed(&mut self, tree: &Tree) -> Option<Box<pb::Expr>> {
        Some(Box::new(self.part(tree)))
    }

    fn all(&mut self, trees: &[Tree]) -> Vec<pb::Expr> {
        trees.iter().map(|tree| self.part(tree)).collect()
    }

    fn part(&mut self, tree: &Tree) -> pb::Expr {
        use pb::expr::ExprKind;
        let id = self.id();
        let kind = match tree {
            Tree::Literal(literal) => {
                let constant_kind = Some(constant(literal));
                ExprKind::ConstExpr(pb::Constant { constant_kind })
            }
            Tree::Name(name) => ExprKind::IdentExpr(pb::expr::Ident { name: name.clone() }),
            Tree::Select { operand, field, is_test } => {
                ExprKind::SelectExpr(Box::new(pb::expr::Select {
                    operand: self.boxed(operand),
                    field: field.clone(),
                    test_only: *is_test,
                }))
            }
            Tree::Call { target, function, arguments } => {
                ExprKind::CallExpr(Box::new(pb::expr::Call {
                    target: target.as_ref().and_then(|target| self.boxed(target)),
                    function: function.clone(),
                    args: self.all(arguments),
                }))
            }
            Tree::List(items) => ExprKind::ListExpr(pb::expr::CreateList {
                elements: self.all(items),
                optional_indices: Vec::new(),
            }),
            Tree::Map { message, entries } => {
                use pb::expr::create_struct::{Entry, entry::KeyKind};
                let entries = entries.iter().map(|entry| Entry {
                    id: self.id(),
                    value: Some(self.part(&entry.value)),
                    optional_entry: false,
                    key_kind: Some(KeyKind::MapKey(self.part(&entry.key))),
                });
                let entries = entries.collect();
                let message_name = message.clone();
                ExprKind::StructExpr(pb::expr::CreateStruct { message_name, entries })
            }
            Tree::Fold(fold) => ExprKind::ComprehensionExpr(Box::new(pb::expr::Comprehension {
                iter_var: fold.element.clone(),
                iter_var2: String::new(),
                iter_range: self.boxed(&fold.range),
                accu_var: fold.made.clone(),
                accu_init: self.boxed(&fold.initial),
                loop_condition: self.boxed(&fold.condition),
                loop_step: self.boxed(&fold.step),
                result: self.boxed(&fold.result),
            })),
        };
        pb::Expr { id, expr_kind: Some(kind) }
    }
}

fn constant(literal: &Literal) -> pb::constant::ConstantKind {
    use pb::constant::ConstantKind;
    let parts = |nanos: i128| {
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        (seconds, i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0))
    };
    match literal {
        Literal::Null => ConstantKind::NullValue(0),
        Literal::Bool(value) => ConstantKind::BoolValue(*value),
        Literal::Int(value) => ConstantKind::Int64Value(*value),
        Literal::Uint(value) => ConstantKind::Uint64Value(*value),
        Literal::Double(value) => ConstantKind::DoubleValue(*value),
        Literal::Text(text) => ConstantKind::StringValue(text.clone()),
        Literal::Bytes(bytes) => ConstantKind::BytesValue(bytes.clone().into()),
        Literal::Duration(nanos) => {
            let (seconds, nanos) = parts(*nanos);
            ConstantKind::DurationValue(prost_types::Duration { seconds, nanos })
        }
        Literal::Timestamp(nanos) => {
            let (seconds, nanos) = parts(*nanos);
            ConstantKind::TimestampValue(prost_types::Timestamp { seconds, nanos })
        }
    }
}
