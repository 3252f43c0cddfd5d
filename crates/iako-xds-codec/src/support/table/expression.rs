//! Expressions. What came of checking one is not needed to evaluate it.

use crate::support::MessageSupport;

/// A message of which all fields are honoured.
const fn whole(name: &'static str, honoured: &'static [&'static str]) -> MessageSupport {
    MessageSupport { name, honoured, warned: &[], refused: &[] }
}

/// The messages of a schema of trees: there are two with the same fields.
macro_rules! trees {
    ($package:literal) => {
        &[
            whole(concat!($package, ".ParsedExpr"), &["expr", "source_info"]),
            whole(
                concat!($package, ".CheckedExpr"),
                &["reference_map", "type_map", "source_info", "expr_version", "expr"],
            ),
            whole(
                concat!($package, ".Expr"),
                &[
                    "id",
                    "const_expr",
                    "ident_expr",
                    "select_expr",
                    "call_expr",
                    "list_expr",
                    "struct_expr",
                    "comprehension_expr",
                ],
            ),
            whole(concat!($package, ".Expr.Ident"), &["name"]),
            whole(concat!($package, ".Expr.Select"), &["operand", "field", "test_only"]),
            whole(concat!($package, ".Expr.Call"), &["target", "function", "args"]),
            MessageSupport {
                name: concat!($package, ".Expr.CreateList"),
                honoured: &["elements"],
                warned: &[],
                refused: &[("write lists without optional elements", &["optional_indices"])],
            },
            whole(concat!($package, ".Expr.CreateStruct"), &["message_name", "entries"]),
            MessageSupport {
                name: concat!($package, ".Expr.CreateStruct.Entry"),
                honoured: &["id", "field_key", "map_key", "value"],
                warned: &[],
                refused: &[("write maps without optional entries", &["optional_entry"])],
            },
            MessageSupport {
                name: concat!($package, ".Expr.Comprehension"),
                honoured: &[
                    "iter_var",
                    "iter_range",
                    "accu_var",
                    "accu_init",
                    "loop_condition",
                    "loop_step",
                    "result",
                ],
                warned: &[],
                refused: &[("go through keys alone", &["iter_var2"])],
            },
            whole(
                concat!($package, ".Constant"),
                &[
                    "null_value",
                    "bool_value",
                    "int64_value",
                    "uint64_value",
                    "double_value",
                    "string_value",
                    "bytes_value",
                    "duration_value",
                    "timestamp_value",
                ],
            ),
            whole(
                concat!($package, ".SourceInfo"),
                &[
                    "syntax_version",
                    "location",
                    "line_offsets",
                    "positions",
                    "macro_calls",
                    "extensions",
                ],
            ),
            whole(
                concat!($package, ".SourceInfo.Extension"),
                &["id", "affected_components", "version"],
            ),
            whole(concat!($package, ".SourceInfo.Extension.Version"), &["major", "minor"]),
            whole(concat!($package, ".Reference"), &["name", "overload_id", "value"]),
            whole(
                concat!($package, ".Type"),
                &[
                    "dyn",
                    "null",
                    "primitive",
                    "wrapper",
                    "well_known",
                    "list_type",
                    "map_type",
                    "function",
                    "message_type",
                    "type_param",
                    "type",
                    "error",
                    "abstract_type",
                ],
            ),
            whole(concat!($package, ".Type.ListType"), &["elem_type"]),
            whole(concat!($package, ".Type.MapType"), &["key_type", "value_type"]),
            whole(concat!($package, ".Type.FunctionType"), &["result_type", "arg_types"]),
            whole(concat!($package, ".Type.AbstractType"), &["name", "parameter_types"]),
        ]
    };
}

/// The older schema, which RBAC uses.
pub(super) const OLDER: &[MessageSupport] = trees!("google.api.expr.v1alpha1");

/// The newer one.
pub(super) const NEWER: &[MessageSupport] = trees!("cel.expr");

pub(super) const MESSAGES: &[MessageSupport] = &[
    whole(
        "envoy.config.core.v3.CelExpressionConfig",
        &["enable_string_conversion", "enable_string_concat", "enable_string_functions"],
    ),
    whole("envoy.extensions.formatter.cel.v3.Cel", &["cel_config"]),
    whole(
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        &["expression", "cel_config"],
    ),
    whole(
        "xds.type.v3.CelExpression",
        &["parsed_expr", "checked_expr", "cel_expr_parsed", "cel_expr_checked", "cel_expr_string"],
    ),
    whole("xds.type.matcher.v3.CelMatcher", &["expr_match", "description"]),
    whole("xds.type.matcher.v3.HttpAttributesCelMatchInput", &[]),
];
