//! Finding the routes that may take a path without walking all of them.

use std::collections::HashMap;
use std::sync::Arc;

use iako_proxy_config::{PathMatch, Route};
use smallvec::SmallVec;

/// Routes of a virtual host by the condition on their path.
///
/// Whole paths are found by their hash, starts of paths by theirs, one look-up for each length that
/// occurs; expressions and templates by the text with which they start. Only hashes are kept: what is
/// found is checked against the route anyway. Every list holds positions in rising order, so that the
/// first route that matches is found by taking the smallest head of a few lists.
#[derive(Debug, Default)]
pub(super) struct PathIndex {
    with_case: Texts,
    without_case: Texts,
    /// Conditions that nothing is known about.
    rest: Vec<u32>,
}

/// Whether upper and lower case letters are different.
#[derive(Debug, Clone, Copy)]
enum Case {
    Counts,
    Ignored,
}

/// Whether the paths that are looked up have their parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    Kept,
    Ignored,
}

/// Positions by the hash of a text.
type Positions = HashMap<u64, SmallVec<[u32; 2]>, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
struct Texts {
    whole: Positions,
    /// By length, shortest first.
    starts: Vec<(usize, Positions)>,
}

impl PathIndex {
    /// Compiles the conditions of `routes`. Where paths are looked up without their parameters, the
    /// start of a template, which is matched against the whole path, says nothing.
    pub(super) fn compile(routes: &[Arc<Route>], parameters: Parameters) -> Self {
        let mut index = Self::default();
        for (position, route) in (0..).zip(routes) {
            let rule = &route.matcher;
            let (texts, case) = if rule.case_sensitive {
                (&mut index.with_case, Case::Counts)
            } else {
                (&mut index.without_case, Case::Ignored)
            };
            match &rule.path {
                PathMatch::Exact(path) => texts.add_whole(path, case, position),
                PathMatch::Prefix(prefix) | PathMatch::SegmentPrefix(prefix) => {
                    texts.add_start(prefix, case, position);
                }
                // An expression says by itself whether case counts.
                PathMatch::Regex(pattern) => {
                    let start = pattern.literal_start();
                    index.with_case.add_start(&start, Case::Counts, position);
                }
                PathMatch::Template(_) if parameters == Parameters::Ignored => {
                    index.rest.push(position);
                }
                PathMatch::Template(template) => {
                    let start = template.literal_start();
                    index.with_case.add_start(start, Case::Counts, position);
                }
                PathMatch::Connect => index.rest.push(position),
            }
        }
        index.with_case.starts.sort_unstable_by_key(|(length, _)| *length);
        index.without_case.starts.sort_unstable_by_key(|(length, _)| *length);
        index
    }

    /// Positions of routes that may take `path`, in rising order; all others cannot.
    pub(super) fn candidates(&self, path: &str) -> Candidates<'_> {
        let mut lists = SmallVec::new();
        self.with_case.collect(path.bytes(), &mut lists);
        if !self.without_case.is_empty() {
            let lower = path.bytes().map(|byte| byte.to_ascii_lowercase());
            self.without_case.collect(lower, &mut lists);
        }
        if !self.rest.is_empty() {
            lists.push(self.rest.as_slice());
        }
        Candidates { lists }
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.starts.is_empty()
    }

    fn add_whole(&mut self, text: &str, case: Case, position: u32) {
        self.whole.entry(hash(text, case)).or_default().push(position);
    }

    fn add_start(&mut self, text: &str, case: Case, position: u32) {
        let slot = self.starts.iter().position(|(length, _)| *length == text.len());
        let slot = slot.unwrap_or_else(|| {
            self.starts.push((text.len(), Positions::default()));
            self.starts.len().saturating_sub(1)
        });
        if let Some((_, texts)) = self.starts.get_mut(slot) {
            texts.entry(hash(text, case)).or_default().push(position);
        }
    }

    /// Adds the lists for a path: one pass over its bytes.
    fn collect<'t>(&'t self, path: impl Iterator<Item = u8>, lists: &mut SmallVec<[&'t [u32]; 8]>) {
        let mut add = |texts: &'t Positions, hash: u64| {
            if let Some(positions) = texts.get(&hash) {
                lists.push(positions.as_slice());
            }
        };
        let mut starts = self.starts.iter().peekable();
        let mut hash = HASH_START;
        let mut read = 0_usize;
        for byte in path {
            if let Some((_, texts)) = starts.next_if(|(length, _)| *length == read) {
                add(texts, hash);
            }
            hash = hash_on(hash, byte);
            read = read.saturating_add(1);
        }
        if let Some((_, texts)) = starts.next_if(|(length, _)| *length == read) {
            add(texts, hash);
        }
        add(&self.whole, hash);
    }
}

/// FNV-1a: each further byte costs one multiplication, so that the hashes of all starts of a path come
/// from one pass. Texts come from configuration; a path that is made to collide is only looked at
/// again.
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

const fn hash_on(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

fn hash(text: &str, case: Case) -> u64 {
    let bytes = text.bytes().map(|byte| match case {
        Case::Counts => byte,
        Case::Ignored => byte.to_ascii_lowercase(),
    });
    bytes.fold(HASH_START, hash_on)
}

/// Positions in rising order, merged from a few sorted lists.
#[derive(Debug)]
pub(super) struct Candidates<'i> {
    lists: SmallVec<[&'i [u32]; 8]>,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let heads = self.lists.iter_mut().filter_map(|list| {
            let (first, rest) = list.split_first()?;
            Some((*first, rest, list))
        });
        let (first, rest, list) = heads.min_by_key(|(first, ..)| *first)?;
        *list = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{Action, DirectResponse, Pattern, RouteMatch, UriTemplate};

    use super::*;

    fn index(rules: Vec<RouteMatch>) -> PathIndex {
        let answer = || Action::Respond(DirectResponse::new(200, bytes::Bytes::new()));
        let routes: Vec<_> =
            rules.into_iter().map(|rule| Arc::new(Route::new(rule, answer()))).collect();
        PathIndex::compile(&routes, Parameters::Kept)
    }

    #[test]
    fn candidates_come_in_the_order_of_the_rules() {
        let paths = [
            PathMatch::Prefix("/api/v1".to_owned()),
            PathMatch::Exact("/api/v1/x".to_owned()),
            PathMatch::Prefix("/api".to_owned()),
            PathMatch::Connect,
            PathMatch::SegmentPrefix("/api/v1".to_owned()),
            PathMatch::Prefix("/other".to_owned()),
            PathMatch::Prefix(String::new()),
            PathMatch::Regex(Pattern::parse("/api/v[0-9]/.*").unwrap()),
            PathMatch::Template(UriTemplate::parse("/other/{x}").unwrap()),
        ];
        let index = index(paths.map(RouteMatch::path).into());
        let found = |path| index.candidates(path).collect::<Vec<_>>();
        assert_eq!(found("/api/v1/x"), [0, 1, 2, 3, 4, 6, 7]);
        assert_eq!(found("/apx"), [3, 6]);
        assert_eq!(found("/other"), [3, 5, 6]);
        assert_eq!(found("/other/"), [3, 5, 6, 8]);
    }

    #[test]
    fn conditions_without_case_are_found_in_any_letters() {
        let any_case = |path| RouteMatch { case_sensitive: false, ..RouteMatch::path(path) };
        let index = index(vec![
            any_case(PathMatch::Prefix("/Api".to_owned())),
            any_case(PathMatch::Exact("/aPI/x".to_owned())),
            RouteMatch::path(PathMatch::Prefix("/Api".to_owned())),
        ]);
        let found = |path| index.candidates(path).collect::<Vec<_>>();
        assert_eq!(found("/API/X"), [0, 1]);
        assert_eq!(found("/Api/y"), [0, 2]);
    }

    // The rules that a path has to do with are a few, however many there are.
    #[test]
    fn the_last_of_many_rules_is_as_near_as_the_first() {
        let rules = (0..5000).map(|nth| match nth % 4 {
            0 => PathMatch::Prefix(format!("/p{nth}/")),
            1 => PathMatch::Exact(format!("/p{nth}/x")),
            2 => PathMatch::SegmentPrefix(format!("/p{nth}")),
            _ => PathMatch::Regex(Pattern::parse(&format!("/p{nth}/[a-z]+")).unwrap()),
        });
        let index = index(rules.map(RouteMatch::path).collect());
        for nth in [0_u32, 1, 2, 3, 4996, 4997, 4998, 4999] {
            let found: Vec<_> = index.candidates(&format!("/p{nth}/x")).collect();
            assert_eq!(found, [nth]);
        }
    }
}
