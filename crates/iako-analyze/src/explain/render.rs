//! An explanation for people.

use std::fmt::Write as _;

use super::{Decision, ExplainRequest, Explanation, Step};

/// Width of the column with the stages.
const STAGE_WIDTH: usize = 12;

/// An explanation as text: one line a step, the place of the rule below it, the result last.
#[must_use]
pub fn render_explanation(request: &ExplainRequest, explanation: &Explanation) -> String {
    let mut text = format!("{} {}\n", request.method.to_ascii_uppercase(), request.url);
    for step in &explanation.steps {
        push_step(&mut text, step);
    }
    text.push_str(&result(explanation));
    text.push('\n');
    text
}

fn push_step(text: &mut String, step: &Step) {
    // Writing into a text cannot fail.
    let _infallible = writeln!(text, "  {:STAGE_WIDTH$}{}", step.stage, step.why);
    if let Some(rule) = &step.rule {
        let place = if rule.file.is_empty() {
            String::new()
        } else {
            format!(" at {}:{}", rule.file, rule.line)
        };
        let _infallible = writeln!(
            text,
            "  {:STAGE_WIDTH$}because of {} {}/{}{place}",
            "", rule.kind, rule.namespace, rule.name
        );
    }
}

fn result(explanation: &Explanation) -> String {
    let Explanation { cluster, endpoints, timeout_ms, retries, .. } = explanation;
    match (explanation.decision, explanation.status) {
        (Decision::Forward, _) => {
            let cluster = cluster.as_deref().unwrap_or("the instance");
            let limit = timeout_ms
                .map_or_else(|| "no time limit".to_owned(), |ms| format!("{ms} ms at most"));
            format!(
                "=> forwarded to {cluster} ({}), {limit}, up to {retries} retries",
                endpoints.join(", ")
            )
        }
        (Decision::Respond, Some(status)) => format!("=> answered by a proxy with {status}"),
        (Decision::Respond, None) => "=> answered by a proxy".to_owned(),
        (Decision::Close, _) => "=> the connection is closed".to_owned(),
        (Decision::Passthrough, _) => "=> passed through, to where the client meant it".to_owned(),
    }
}
