//! Expressions, as text or as trees.

use iako_cel::{Entry, Expression, ExpressionError, Fold, Literal, Options, Tree};
use iako_xds_api::envoy::config::core::v3::CelExpressionConfig;
use iako_xds_api::google::api::expr::v1alpha1 as pb;
use iako_xds_api::xds::r#type::v3 as xds;
use prost::Message as _;

use crate::problem::{At, Fault};

/// What an expression may call.
pub(super) fn options(config: Option<&CelExpressionConfig>) -> Options {
    config.map_or_else(Options::default, |config| Options {
        string_conversion: config.enable_string_conversion,
        string_concat: config.enable_string_concat,
        string_functions: config.enable_string_functions,
    })
}

/// An expression as text.
pub(super) fn text(text: &str, options: Options, at: &At<'_>) -> Result<Expression, Fault> {
    if text.is_empty() {
        return Err(at.missing("write an expression"));
    }
    refused(Expression::parse(text, options), at)
}

/// An expression as a tree.
pub(super) fn tree(expr: &pb::Expr, options: Options, at: &At<'_>) -> Result<Expression, Fault> {
    refused(Expression::from_tree(part(expr, at)?, options), at)
}

fn refused(made: Result<Expression, ExpressionError>, at: &At<'_>) -> Result<Expression, Fault> {
    made.map_err(|error| {
        at.invalid(error.to_string(), "write an expression of the Common Expression Language")
    })
}

/// An expression in whichever form it is; text counts before what is checked, and that before what is
/// only parsed.
pub(super) fn any(config: &xds::CelExpression, at: &At<'_>) -> Result<Expression, Fault> {
    use xds::cel_expression::ExprSpecifier;
    let options = Options::default();
    if !config.cel_expr_string.is_empty() {
        return text(&config.cel_expr_string, options, &at.field("cel_expr_string"));
    }
    // The two schemas of trees have the same fields.
    let same = |bytes: Vec<u8>, at: &At<'_>| {
        pb::Expr::decode(bytes.as_slice())
            .map_err(|error| at.invalid(error.to_string(), "write a tree"))
    };
    if let Some(checked) = &config.cel_expr_checked {
        let at = at.field("cel_expr_checked");
        let at = at.field("expr");
        let expr = checked.expr.as_ref().ok_or_else(|| at.missing("write a tree"))?;
        return tree(&same(expr.encode_to_vec(), &at)?, options, &at);
    }
    if let Some(parsed) = &config.cel_expr_parsed {
        let at = at.field("cel_expr_parsed");
        let at = at.field("expr");
        let expr = parsed.expr.as_ref().ok_or_else(|| at.missing("write a tree"))?;
        return tree(&same(expr.encode_to_vec(), &at)?, options, &at);
    }
    let (expr, field) = match &config.expr_specifier {
        Some(ExprSpecifier::ParsedExpr(parsed)) => (&parsed.expr, "parsed_expr"),
        Some(ExprSpecifier::CheckedExpr(checked)) => (&checked.expr, "checked_expr"),
        None => return Err(at.missing("write `cel_expr_string`")),
    };
    let at = at.field(field);
    let at = at.field("expr");
    tree(expr.as_ref().ok_or_else(|| at.missing("write a tree"))?, options, &at)
}

/// A part of a tree. Trees are no deeper than the wire format lets messages be.
fn part(expr: &pb::Expr, at: &At<'_>) -> Result<Tree, Fault> {
    use pb::expr::ExprKind;
    let missing = || at.missing("every part of a tree needs its operands");
    let boxed = |expr: &Option<Box<pb::Expr>>| part(expr.as_deref().ok_or_else(missing)?, at);
    let all = |exprs: &[pb::Expr]| -> Result<Vec<Tree>, Fault> {
        exprs.iter().map(|expr| part(expr, at)).collect()
    };
    Ok(match expr.expr_kind.as_ref().ok_or_else(missing)? {
        ExprKind::ConstExpr(constant) => Tree::Literal(literal(constant, at)?),
        ExprKind::IdentExpr(ident) => Tree::Name(ident.name.clone()),
        ExprKind::SelectExpr(select) => Tree::Select {
            operand: Box::new(boxed(&select.operand)?),
            field: select.field.clone(),
            is_test: select.test_only,
        },
        ExprKind::CallExpr(call) => Tree::Call {
            target: match &call.target {
                Some(target) => Some(Box::new(part(target, at)?)),
                None => None,
            },
            function: call.function.clone(),
            arguments: all(&call.args)?,
        },
        ExprKind::ListExpr(list) if !list.optional_indices.is_empty() => {
            return Err(at.invalid("has optional elements", "write lists without them"));
        }
        ExprKind::ListExpr(list) => Tree::List(all(&list.elements)?),
        ExprKind::StructExpr(map) => Tree::Map {
            message: map.message_name.clone(),
            entries: map.entries.iter().map(|one| entry(one, at)).collect::<Result<_, _>>()?,
        },
        ExprKind::ComprehensionExpr(fold) if !fold.iter_var2.is_empty() => {
            return Err(at.invalid("goes through keys and values", "go through keys alone"));
        }
        ExprKind::ComprehensionExpr(fold) => Tree::Fold(Box::new(Fold {
            element: fold.iter_var.clone(),
            range: boxed(&fold.iter_range)?,
            made: fold.accu_var.clone(),
            initial: boxed(&fold.accu_init)?,
            condition: boxed(&fold.loop_condition)?,
            step: boxed(&fold.loop_step)?,
            result: boxed(&fold.result)?,
        })),
    })
}

fn entry(entry: &pb::expr::create_struct::Entry, at: &At<'_>) -> Result<Entry, Fault> {
    use pb::expr::create_struct::entry::KeyKind;
    let missing = || at.missing("every entry needs its key and value");
    if entry.optional_entry {
        return Err(at.invalid("has an optional entry", "write maps without them"));
    }
    let key = match entry.key_kind.as_ref().ok_or_else(missing)? {
        KeyKind::FieldKey(name) => Tree::Literal(Literal::Text(name.clone())),
        KeyKind::MapKey(key) => part(key, at)?,
    };
    Ok(Entry { key, value: part(entry.value.as_ref().ok_or_else(missing)?, at)? })
}

fn literal(constant: &pb::Constant, at: &At<'_>) -> Result<Literal, Fault> {
    use pb::constant::ConstantKind;
    let nanos = |seconds: i64, nanos: i32| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let kind = constant.constant_kind.as_ref();
    Ok(match kind.ok_or_else(|| at.missing("every constant needs its value"))? {
        ConstantKind::NullValue(_) => Literal::Null,
        ConstantKind::BoolValue(value) => Literal::Bool(*value),
        ConstantKind::Int64Value(value) => Literal::Int(*value),
        ConstantKind::Uint64Value(value) => Literal::Uint(*value),
        ConstantKind::DoubleValue(value) => Literal::Double(*value),
        ConstantKind::StringValue(text) => Literal::Text(text.clone()),
        ConstantKind::BytesValue(bytes) => Literal::Bytes(bytes.to_vec()),
        ConstantKind::DurationValue(value) => Literal::Duration(nanos(value.seconds, value.nanos)),
        ConstantKind::TimestampValue(value) => {
            Literal::Timestamp(nanos(value.seconds, value.nanos))
        }
    })
}
