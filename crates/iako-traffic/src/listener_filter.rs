//! Which connections a listener filter looks at.

use iako_proxy_config::ConnectionPredicate;

/// Whether a predicate holds for a connection to this port. Source:
/// `envoy.config.listener.v3.ListenerFilterChainMatchPredicate`.
#[must_use]
pub fn predicate_holds(predicate: &ConnectionPredicate, port: u16) -> bool {
    match predicate {
        ConnectionPredicate::Any => true,
        ConnectionPredicate::Or(rules) => rules.iter().any(|rule| predicate_holds(rule, port)),
        ConnectionPredicate::And(rules) => rules.iter().all(|rule| predicate_holds(rule, port)),
        ConnectionPredicate::Not(rule) => !predicate_holds(rule, port),
        ConnectionPredicate::DestinationPorts { start, end } => {
            *start <= port && u32::from(port) < *end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_range_of_ports_is_not_part_of_it() {
        let ports = |start, end| ConnectionPredicate::DestinationPorts { start, end };
        let rule = ConnectionPredicate::And(vec![
            ConnectionPredicate::Or(vec![ports(80, 82), ports(443, 444)]),
            ConnectionPredicate::Not(Box::new(ports(81, 82))),
        ]);
        let holding = |wanted: &[u16]| {
            [79, 80, 81, 82, 443, 444]
                .iter()
                .filter(|port| predicate_holds(&rule, **port))
                .eq(wanted)
        };
        assert!(holding(&[80, 443]));
        assert!(predicate_holds(&ports(1, 65_536), 65_535));
    }
}
