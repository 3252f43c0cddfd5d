//! Finding the routes that may take a path without walking all of them.

use std::collections::HashMap;

use iako_proxy_config::{PathMatch, Route};
use smallvec::SmallVec;

/// Routes of a virtual host by the condition on their path.
///
/// Every list holds positions in rising order, so that the first route that matches is found by
/// taking the smallest head of a few lists.
#[derive(Debug, Default)]
pub(super) struct PathIndex {
    exact: HashMap<String, Vec<u32>>,
    prefixes: PrefixTrie,
    /// Expressions, templates, CONNECT and conditions without regard to case.
    rest: Vec<u32>,
}

impl PathIndex {
    /// Compiles the conditions of `routes`.
    pub(super) fn compile(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for (position, route) in (0..).zip(routes) {
            match &route.matcher.path {
                PathMatch::Exact(path) if route.matcher.case_sensitive => {
                    index.exact.entry(path.clone()).or_default().push(position);
                }
                PathMatch::Prefix(prefix) | PathMatch::SegmentPrefix(prefix)
                    if route.matcher.case_sensitive =>
                {
                    index.prefixes.insert(prefix.as_bytes(), position);
                }
                PathMatch::Exact(_)
                | PathMatch::Prefix(_)
                | PathMatch::SegmentPrefix(_)
                | PathMatch::Regex(_)
                | PathMatch::Template(_)
                | PathMatch::Connect => index.rest.push(position),
            }
        }
        index
    }

    /// Positions of routes that may take `path`, in rising order; all others cannot.
    pub(super) fn candidates(&self, path: &str) -> Candidates<'_> {
        let mut lists = SmallVec::new();
        if let Some(positions) = self.exact.get(path) {
            lists.push(positions.as_slice());
        }
        self.prefixes.collect(path.as_bytes(), &mut lists);
        lists.push(self.rest.as_slice());
        Candidates { lists }
    }
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

/// A tree of prefixes, edges labelled with as many bytes as they share.
#[derive(Debug, Default)]
struct PrefixTrie {
    positions: Vec<u32>,
    children: Vec<(Box<[u8]>, Self)>,
}

impl PrefixTrie {
    fn insert(&mut self, prefix: &[u8], position: u32) {
        let Some(first) = prefix.first() else {
            self.positions.push(position);
            return;
        };
        let Some((label, child)) =
            self.children.iter_mut().find(|(label, _)| label.first() == Some(first))
        else {
            let leaf = Self { positions: vec![position], children: Vec::new() };
            self.children.push((prefix.into(), leaf));
            return;
        };
        let shared = label.iter().zip(prefix).take_while(|(a, b)| a == b).count();
        let (head, tail) = label.split_at(shared.min(label.len()));
        if !tail.is_empty() {
            let (head, tail): (Box<[u8]>, Box<[u8]>) = (head.into(), tail.into());
            let below = std::mem::take(child);
            child.children.push((tail, below));
            *label = head;
        }
        child.insert(prefix.get(shared..).unwrap_or_default(), position);
    }

    fn collect<'t>(&'t self, path: &[u8], lists: &mut SmallVec<[&'t [u32]; 8]>) {
        let (mut node, mut path) = (self, path);
        loop {
            if !node.positions.is_empty() {
                lists.push(&node.positions);
            }
            let next = node.children.iter().find_map(|(label, child)| {
                path.strip_prefix(label.as_ref()).map(|rest| (child, rest))
            });
            let Some((child, rest)) = next else { return };
            (node, path) = (child, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{Action, DirectResponse, RouteMatch};

    use super::*;

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
        ];
        let respond = DirectResponse { status: 200, body: bytes::Bytes::new() };
        let routes: Vec<Route> = paths
            .map(|path| Route::new(RouteMatch::path(path), Action::Respond(respond.clone())))
            .into();
        let index = PathIndex::compile(&routes);
        let found = |path| index.candidates(path).collect::<Vec<_>>();
        assert_eq!(found("/api/v1/x"), [0, 1, 2, 3, 4, 6]);
        assert_eq!(found("/apx"), [3, 6]);
        assert_eq!(found("/other"), [3, 5, 6]);
    }
}
