//! Whether a service may change a header. Source: Envoy `HeaderMutationRules`.

use iako_proxy_config::HeaderMutationRules;

/// What becomes of a change that a service asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutationVerdict {
    /// It is made.
    Made,
    /// It is left out.
    Left,
    /// It fails the request.
    Fails,
}

/// What is done to a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutationKind {
    /// It is set or added.
    Set,
    /// It goes.
    Remove,
}

/// Headers that decide where a request goes.
const ROUTING: [&str; 4] = [":authority", ":scheme", ":method", "host"];

/// Whether a header, in lower case, may be changed. Without rules nothing is forbidden but to remove
/// what every request has.
#[must_use]
pub fn may_mutate(
    rules: Option<&HeaderMutationRules>,
    kind: MutationKind,
    name: &str,
) -> MutationVerdict {
    let is_system = name.starts_with(':');
    if kind == MutationKind::Remove && (is_system || name == "host") {
        return refused(rules);
    }
    let Some(rules) = rules else { return MutationVerdict::Made };
    let named = |pattern: &Option<iako_proxy_config::Pattern>| {
        pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
    };
    let allowed = if named(&rules.disallow) {
        false
    } else if named(&rules.allow) {
        true
    } else {
        let is_kept = (ROUTING.contains(&name) && !rules.allow_all_routing)
            || (is_system && rules.disallow_system)
            || (name.starts_with("x-envoy-") && !rules.allow_envoy);
        !is_kept && !rules.disallow_all
    };
    if allowed { MutationVerdict::Made } else { refused(Some(rules)) }
}

fn refused(rules: Option<&HeaderMutationRules>) -> MutationVerdict {
    if rules.is_some_and(|rules| rules.disallowed_is_error) {
        MutationVerdict::Fails
    } else {
        MutationVerdict::Left
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::Pattern;

    use super::*;

    fn set(rules: &HeaderMutationRules, name: &str) -> MutationVerdict {
        may_mutate(Some(rules), MutationKind::Set, name)
    }

    #[test]
    fn routing_and_envoys_own_headers_stay_unless_they_are_allowed() {
        let mut rules = HeaderMutationRules::default();
        for name in [":authority", "host", ":method", ":scheme", "x-envoy-a"] {
            assert_eq!(set(&rules, name), MutationVerdict::Left, "{name}");
        }
        for name in [":path", "x-a", "x-envoyed"] {
            assert_eq!(set(&rules, name), MutationVerdict::Made, "{name}");
        }
        rules.allow_all_routing = true;
        rules.allow_envoy = true;
        rules.disallow_system = true;
        assert_eq!(set(&rules, "host"), MutationVerdict::Made);
        assert_eq!(set(&rules, "x-envoy-a"), MutationVerdict::Made);
        assert_eq!(set(&rules, ":path"), MutationVerdict::Left);
    }

    #[test]
    fn what_is_named_counts_before_what_is_said_of_all() {
        let rules = HeaderMutationRules {
            disallow_all: true,
            allow: Pattern::parse("x-.*").ok(),
            disallow: Pattern::parse("x-secret").ok(),
            disallowed_is_error: true,
            ..HeaderMutationRules::default()
        };
        assert_eq!(set(&rules, "x-a"), MutationVerdict::Made);
        assert_eq!(set(&rules, "x-secret"), MutationVerdict::Fails);
        assert_eq!(set(&rules, "y"), MutationVerdict::Fails);
    }

    #[test]
    fn what_every_request_has_is_never_removed() {
        for name in [":path", "host"] {
            let verdict = may_mutate(None, MutationKind::Remove, name);
            assert_eq!(verdict, MutationVerdict::Left);
        }
        assert_eq!(may_mutate(None, MutationKind::Remove, "x-a"), MutationVerdict::Made);
    }
}
