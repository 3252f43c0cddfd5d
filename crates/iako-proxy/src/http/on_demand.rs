//! Requests that wait for a virtual host or cluster that is not known yet.

use std::future::poll_fn;
use std::time::Duration;

use iako_proxy_config::{Action, FilterSettings, OnDemand, RouteSource, SourcedName};
use iako_traffic::RouteOutcome;

use super::downstream::Downstream;
use super::exchange::Exchange;
use super::failure::Failure;
use crate::on_demand::{Found, HOST_WAIT_MAX, Needed};
use crate::snapshot::ServedRoutes;

/// How often one request begins anew: for its virtual host, for its cluster, and when one of them
/// went again in between.
const RENEWALS_MAX: u8 = 4;

impl Exchange<'_> {
    /// Waits for what the request lacks. Whether it came: the request then begins anew, with the
    /// configuration that holds it.
    pub(super) async fn find_on_demand(
        &mut self,
        own: &OnDemand,
        (table, outcome): (Option<&ServedRoutes>, RouteOutcome<'_>),
        of_route: Option<&FilterSettings>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Found, Failure> {
        let settings = match of_route {
            Some(FilterSettings::OnDemand(settings)) => settings,
            Some(_) | None => own,
        };
        let needed = match outcome {
            RouteOutcome::NoHost => self.needed_host(table),
            RouteOutcome::Matched(_) => self.needed_cluster(settings, outcome),
            // The host is known, and a further word about it would say the same.
            RouteOutcome::NoRoute(_) | RouteOutcome::TlsRequired(_) => None,
        };
        let Some((needed, longest)) = needed else { return Ok(Found::Missing) };
        if self.renewals >= RENEWALS_MAX {
            return Ok(Found::Missing);
        }
        let mut wait = self.connection.worker.shared.needs.ask(needed, longest);
        let found = poll_fn(|context| {
            if let std::task::Poll::Ready(found) = wait.poll(context) {
                return std::task::Poll::Ready(Ok(found));
            }
            self.poll_interrupted(context, downstream).map(Err)
        });
        let found = found.await?;
        if found == Found::Here {
            self.renewals = self.renewals.saturating_add(1);
            self.renew();
        }
        Ok(found)
    }

    fn needed_host(&self, table: Option<&ServedRoutes>) -> Option<(Needed, Duration)> {
        table?.table().configuration().virtual_host_source.as_ref()?;
        let RouteSource::Rds(name) = &self.service.manager.routes else { return None };
        let view = self.request.view();
        let head = self.request.head(&view);
        let host = head.authority.to_ascii_lowercase();
        let needed = Needed::Host { table: name.key().to_owned(), host };
        Some((needed, HOST_WAIT_MAX))
    }

    fn needed_cluster(
        &self,
        settings: &OnDemand,
        outcome: RouteOutcome<'_>,
    ) -> Option<(Needed, Duration)> {
        let clusters = settings.clusters.as_ref()?;
        let RouteOutcome::Matched(route) = outcome else { return None };
        let Action::Forward(_) = &route.route.action else { return None };
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let name = route.cluster(&facts)?;
        if name.is_empty() || self.snapshot.cluster(&name).is_some() {
            return None;
        }
        let name = SourcedName::new(&name, clusters.source.clone());
        Some((Needed::Cluster(name), clusters.timeout))
    }
}
