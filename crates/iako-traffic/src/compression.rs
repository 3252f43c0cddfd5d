//! Whether content is compressed, and how.

use iako_proxy_config::CompressedContent;

/// A compressor of the chain that would take a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its token in `accept-encoding`.
    pub token: &'static str,
    /// Whether it comes first among those that a client likes equally.
    pub first: bool,
}

/// What a client's `accept-encoding` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodingChoice {
    /// The client names this one.
    Named(&'static str),
    /// The client takes anything, and this is the first there is.
    Any(&'static str),
    /// The client would rather have it as it is.
    Identity,
    /// Nothing of what it names is here, or nothing can be read.
    Nothing,
}

impl CodingChoice {
    /// The token that was chosen.
    #[must_use]
    pub const fn token(self) -> Option<&'static str> {
        match self {
            Self::Named(token) | Self::Any(token) => Some(token),
            Self::Identity | Self::Nothing => None,
        }
    }
}

/// Chooses among compressors by a client's `accept-encoding`, as Envoy does: tokens are compared by
/// case, the highest weight counts, of equal ones the first that the client names. Several offers of
/// one coding count as one. Source: RFC 9110 §12.5.3.
#[must_use]
pub fn choose_coding(accept: &str, offers: &[Offer]) -> CodingChoice {
    let mut offers = offers.to_vec();
    let mut named: Vec<(&str, f32)> = Vec::new();
    for member in accept.split(',').filter(|member| !member.is_empty()) {
        let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
        let name = name.trim();
        let mut weight = 1.0;
        if let Some((key, value)) = parameters.split_once('=')
            && key.trim().eq_ignore_ascii_case("q")
        {
            let Ok(read) = value.trim().parse() else { continue };
            weight = read;
        }
        named.push((name, weight));
        if weight == 0.0 {
            offers.retain(|offer| offer.token != name);
        }
    }
    let mut choice: Option<(&str, f32)> = None;
    for (name, weight) in named {
        let offer = offers.iter().find(|offer| offer.token == name);
        let known = offer.is_some() || name == "identity" || name == "*";
        let best = choice.map_or(0.0, |(_, best)| best);
        let first = offers.iter().rev().find(|offer| offer.first);
        let preferred = weight == best && first.is_some_and(|first| first.token == name);
        if known && weight > 0.0 && (weight > best || preferred) {
            choice = Some((name, weight));
        }
    }
    let Some(first) = offers.first() else { return CodingChoice::Nothing };
    match choice {
        None => CodingChoice::Nothing,
        Some(("identity", _)) => CodingChoice::Identity,
        Some(("*", _)) => CodingChoice::Any(first.token),
        Some((name, _)) => offers
            .iter()
            .find(|offer| offer.token == name)
            .map_or(CodingChoice::Nothing, |offer| CodingChoice::Named(offer.token)),
    }
}

/// Whether content of a type is compressed; parameters of the type do not count. Content that says
/// nothing of its type is.
#[must_use]
pub fn type_is_compressed(rules: &CompressedContent, content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let bare = content_type.split(';').next().unwrap_or_default().trim();
    if rules.types.is_empty() && rules.type_rules.is_empty() {
        return true;
    }
    if rules.type_rules.is_empty() {
        rules.types.iter().any(|one| one.eq_ignore_ascii_case(bare))
    } else {
        rules.type_rules.iter().any(|rule| rule.matches(bare))
    }
}

/// Whether a `cache-control` forbids that content is changed (RFC 9111 §5.2.2.6).
#[must_use]
pub fn forbids_transforms(cache_control: &str) -> bool {
    let mut directives = cache_control.split(',');
    directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

/// The value of `vary` with one more name; none when it is there. Envoy looks for it as it writes it.
#[must_use]
pub fn varies_also(vary: Option<&str>, name: &str) -> Option<String> {
    match vary {
        None => Some(name.to_owned()),
        Some(vary) if vary.contains(name) => None,
        Some(vary) => Some(format!("{vary}, {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Offer; 3] = [
        Offer { token: "gzip", first: false },
        Offer { token: "br", first: false },
        Offer { token: "zstd", first: true },
    ];

    // Compared with Envoy 1.40 by the cases of group compressor.
    #[test]
    fn the_client_chooses_among_what_there_is() {
        use CodingChoice::{Any, Identity, Named, Nothing};
        for (accept, choice) in [
            ("gzip", Named("gzip")),
            ("gzip,br", Named("gzip")),
            ("gzip, br, zstd", Named("zstd")),
            ("gzip;q=0.5, br;q=0.8", Named("br")),
            ("br , gzip ;q=0.3", Named("br")),
            ("*", Any("gzip")),
            ("gzip;q=0,*", Any("br")),
            ("*;q=0.5,br;q=0", Any("gzip")),
            ("identity;q=1,gzip;q=0.5", Identity),
            ("foo", Nothing),
            ("", Nothing),
            ("GZIP", Nothing),
            ("gzip;q=x", Nothing),
            ("gzip;q=0", Nothing),
            ("gzip;q=1.0;x=1, br", Named("br")),
        ] {
            assert_eq!(choose_coding(accept, &ALL), choice, "{accept}");
        }
        assert_eq!(choose_coding("gzip", &[]), Nothing);
    }

    #[test]
    fn types_count_without_their_parameters() {
        let rules = CompressedContent::default();
        assert!(type_is_compressed(&rules, Some("Application/JSON; charset=x")));
        assert!(type_is_compressed(&rules, None));
        assert!(!type_is_compressed(&rules, Some("image/png")));
    }

    #[test]
    fn vary_names_it_once() {
        assert_eq!(varies_also(None, "A").as_deref(), Some("A"));
        assert_eq!(varies_also(Some("Origin"), "A").as_deref(), Some("Origin, A"));
        assert_eq!(varies_also(Some("B, A"), "A"), None);
    }
}
