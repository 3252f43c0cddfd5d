//! Paths with places for segments, and paths made of what stood there.

use super::Pattern;

/// What a segment is made of, but for `/`.
const SEGMENT: &str = "[a-zA-Z0-9\\-._~%!$&'()*+,;:@=]";
/// Envoy's bound on variables of a template.
const VARIABLES_MAX: usize = 5;
/// Envoy's bound on the name of a variable, in characters.
const NAME_MAX: usize = 16;

/// Why a text is no path template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UriTemplateError(&'static str);

/// A path with `*` for one segment and `**` for any number of them, `{name}` and `{name=a/*/b}` for
/// those that a rewrite wants; a text may follow the last of them (`/*.m3u8`).
///
/// Source: `envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig`. Istio's spelling
/// of `AuthorizationPolicy` paths, `{*}` and `{**}`, is understood too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    source: String,
    pattern: Pattern,
    /// In the order of the pattern's groups.
    variables: Vec<String>,
}

impl UriTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// When it does not start with a slash, a segment is empty, text stands beside a place, a place
    /// follows `**`, or a variable is badly named, named twice, or the sixth.
    pub fn parse(source: &str) -> Result<Self, UriTemplateError> {
        let source = istio_spelling(source);
        let Some(mut rest) = source.strip_prefix('/') else {
            return Err(UriTemplateError("a path template starts with a slash"));
        };
        if !source.chars().all(|c| c.is_ascii_graphic()) {
            return Err(UriTemplateError("a path template is made of printable ASCII characters"));
        }
        let mut parts = Parts { expression: "/".to_owned(), ..Parts::default() };
        while !rest.is_empty() {
            rest = parts.segment(rest)?;
            rest = match rest.strip_prefix('/') {
                None if rest.is_empty() => rest,
                None => {
                    let (suffix, after) = literal(rest);
                    if suffix.is_empty() || !after.is_empty() {
                        return Err(UriTemplateError(
                            "a segment is text, `*`, `**` or one variable, not a mixture",
                        ));
                    }
                    parts.expression.push_str(&regex::escape(suffix));
                    after
                }
                Some(after) => {
                    parts.expression.push('/');
                    after
                }
            };
        }
        let Parts { expression, variables, .. } = parts;
        let pattern = Pattern::parse(&expression)
            .map_err(|_too_large| UriTemplateError("the path template is too long"))?;
        Ok(Self { source, pattern, variables })
    }

    /// The template in Envoy's spelling.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Text with which every path that fits the template starts.
    #[must_use]
    pub fn literal_start(&self) -> &str {
        let end = self.source.find(['*', '{']).unwrap_or(self.source.len());
        self.source.get(..end).unwrap_or_default()
    }

    /// Whether `path`, without its query, fits the template.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.pattern.is_match(path)
    }

    /// The names of its variables.
    #[must_use]
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// `rewrite` with what stands in `path` in the places of this template; none when the path does
    /// not fit.
    #[must_use]
    pub fn rewrite(&self, path: &str, rewrite: &UriRewrite) -> Option<String> {
        let captures = self.pattern.captures(path)?;
        let mut out = String::with_capacity(path.len());
        for part in &rewrite.parts {
            match part {
                RewritePart::Text(text) => out.push_str(text),
                RewritePart::Variable(name) => {
                    let place = self.variables.iter().position(|own| own == name)?;
                    out.push_str(captures.get(place.checked_add(1)?)?.as_str());
                }
            }
        }
        Some(out)
    }
}

/// A template as Envoy spells it.
fn istio_spelling(source: &str) -> String {
    source.replace("{**}", "**").replace("{*}", "*")
}

/// A template on its way to an expression.
#[derive(Default)]
struct Parts {
    expression: String,
    variables: Vec<String>,
    /// `**` was seen: no further place may come.
    is_open: bool,
}

impl Parts {
    /// Takes one segment; gives what follows it.
    fn segment<'s>(&mut self, text: &'s str) -> Result<&'s str, UriTemplateError> {
        if let Some(inside) = text.strip_prefix('{') {
            let (variable, rest) = inside
                .split_once('}')
                .ok_or(UriTemplateError("a variable ends with a closing brace"))?;
            self.variable(variable)?;
            return Ok(rest);
        }
        self.plain(text)
    }

    /// Takes text, `*` or `**`; gives what follows.
    fn plain<'s>(&mut self, text: &'s str) -> Result<&'s str, UriTemplateError> {
        let (place, rest) = match (text.strip_prefix("**"), text.strip_prefix('*')) {
            (Some(rest), _) => ("**", rest),
            (None, Some(rest)) => ("*", rest),
            (None, None) => {
                let (literal, rest) = literal(text);
                if literal.is_empty() {
                    return Err(UriTemplateError("a segment is empty or has a stray character"));
                }
                self.expression.push_str(&regex::escape(literal));
                return Ok(rest);
            }
        };
        if self.is_open {
            return Err(UriTemplateError("no `*`, `**` or variable follows `**`"));
        }
        self.is_open = place == "**";
        if self.is_open {
            // Any characters of segments, and slashes.
            self.expression.push_str(&SEGMENT.replace(']', "/]*"));
        } else {
            self.expression.push_str(SEGMENT);
            self.expression.push('+');
        }
        Ok(rest)
    }

    fn variable(&mut self, variable: &str) -> Result<(), UriTemplateError> {
        let (name, mut inside) = variable.split_once('=').unwrap_or((variable, "*"));
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(UriTemplateError("a variable is named by letters, digits and `_`"));
        }
        if name.len() > NAME_MAX {
            return Err(UriTemplateError("the name of a variable has at most 16 characters"));
        }
        if self.variables.iter().any(|known| known == name) {
            return Err(UriTemplateError("a variable stands in a template once"));
        }
        if self.variables.len() >= VARIABLES_MAX {
            return Err(UriTemplateError("a template has at most 5 variables"));
        }
        self.variables.push(name.to_owned());
        self.expression.push('(');
        loop {
            inside = self.plain(inside)?;
            if inside.is_empty() {
                break;
            }
            inside = inside
                .strip_prefix('/')
                .ok_or(UriTemplateError("a variable is made of whole segments"))?;
            self.expression.push('/');
        }
        self.expression.push(')');
        Ok(())
    }
}

/// Text up to the next sign with a meaning, and the rest.
fn literal(text: &str) -> (&str, &str) {
    let end = text.find(['/', '*', '{', '}', '?', '#']).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A path that is made of what stood in the places of a [`UriTemplate`].
///
/// Source: `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriRewrite {
    source: String,
    parts: Vec<RewritePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RewritePart {
    Text(String),
    Variable(String),
}

impl UriRewrite {
    /// Parses a rewrite.
    ///
    /// # Errors
    /// When it does not start with a slash, has an empty segment, a sign with a meaning in text, or
    /// a brace without its other half.
    pub fn parse(source: &str) -> Result<Self, UriTemplateError> {
        if !source.starts_with('/') {
            return Err(UriTemplateError("a path rewrite starts with a slash"));
        }
        if source.contains("//") {
            return Err(UriTemplateError("a path rewrite has no empty segments"));
        }
        let mut parts = Vec::new();
        let mut rest = source;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('{') {
                let (name, after) = inside
                    .split_once('}')
                    .ok_or(UriTemplateError("a variable ends with a closing brace"))?;
                parts.push(RewritePart::Variable(name.to_owned()));
                rest = after;
                continue;
            }
            let end = rest.find('{').unwrap_or(rest.len());
            let (text, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if text.contains(['*', '}', '?', '#']) || !text.chars().all(|c| c.is_ascii_graphic()) {
                return Err(UriTemplateError("a path rewrite is made of text and `{variable}`"));
            }
            parts.push(RewritePart::Text(text.to_owned()));
            rest = after;
        }
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The rewrite as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variables that it needs.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            RewritePart::Variable(name) => Some(name.as_str()),
            RewritePart::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(template: &str, path: &str) -> bool {
        UriTemplate::parse(template).unwrap().matches(path)
    }

    // What Envoy 1.40 does with the same templates.
    #[test]
    fn a_template_counts_segments() {
        assert!(fits("/foo/{*}/bar", "/foo/x/bar") && !fits("/foo/*/bar", "/foo/x/y/bar"));
        assert!(fits("/foo/{**}", "/foo/") && fits("/foo/**", "/foo/x/y"));
        assert!(!fits("/foo/**", "/foo") && !fits("/foo/*", "/foo/"));
        assert!(fits("/a/*", "/a/x=y") && fits("/a/*", "/a/x*y") && !fits("/a/*", "/a/x\"y"));
        assert!(fits("/v/*.m3u8", "/v/x.m3u8") && !fits("/v/*.m3u8", "/v/.m3u8"));
        assert!(fits("/**.mp4", "/a/x.mp4") && fits("/a/", "/a/") && !fits("/a/", "/a"));
        assert!(fits("/a/**/b", "/a//b") && fits("/{x=**}/", "/a/x/") && fits("/", "/"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for wrong in [
            "a",
            "/a//b",
            "/a b",
            "/x*",
            "/{a}/{a}",
            "/{a}{b}",
            "/{1a}",
            "/a/{x=}",
            "/{a=/b}",
            "/{x=*.js}",
            "/**/*",
            "/{abcdefghijklmnopq}",
            "/{a}/{b}/{c}/{d}/{e}/{f}",
            "/{a",
        ] {
            assert!(UriTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rewrite_is_made_of_what_stood_in_the_places() {
        let template = UriTemplate::parse("/c/{x=k/*/l}/d/{y=**}").unwrap();
        let rewrite = UriRewrite::parse("/n/{y}/{x}.html").unwrap();
        let made = template.rewrite("/c/k/1/l/d/2/3", &rewrite);
        assert_eq!(made.as_deref(), Some("/n/2/3/k/1/l.html"));
        assert_eq!(template.rewrite("/other", &rewrite), None);
        assert!(UriRewrite::parse("n").is_err() && UriRewrite::parse("/{x").is_err());
        assert_eq!(template.literal_start(), "/c/");
    }
}
