//! Access logs.

use iako_proxy_config::{
    AccessLog, AccessLogFilter, Keyed, LocalReply, LogComparison, LogSample, ReplyMapper,
};
use iako_types::{Fraction, Percent};

use super::{Runtime, Tune, set};

impl Tune for AccessLog {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.filter.tune(runtime)
    }
}

impl Tune for LocalReply {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.mappers.tune(runtime)
    }
}

impl Tune for ReplyMapper {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        self.filter.tune(runtime)
    }
}

impl Tune for AccessLogFilter {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::Status(comparison) | Self::DurationMs(comparison) => comparison.tune(runtime),
            Self::Sample(sample) => sample.tune(runtime),
            Self::And(filters) | Self::Or(filters) => filters.tune(runtime),
            Self::ResponseFlags(_)
            | Self::NotHealthCheck
            | Self::Traceable
            | Self::Expression(_)
            | Self::Metadata { .. }
            | Self::LogType { .. }
            | Self::Header(_)
            | Self::GrpcStatus { .. } => false,
        }
    }
}

impl Tune for Keyed<LogComparison> {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let number = self.key.as_deref().and_then(|key| runtime.small(key));
        let value = number.map(|number| match self.value {
            LogComparison::Equal(_) => LogComparison::Equal(number),
            LogComparison::AtLeast(_) => LogComparison::AtLeast(number),
            LogComparison::AtMost(_) => LogComparison::AtMost(number),
            LogComparison::NotEqual(_) => LogComparison::NotEqual(number),
        });
        set(&mut self.value, value)
    }
}

/// A number of the runtime counts parts of the configured size; fractions are not looked at.
impl Tune for LogSample {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let number = self.share.key.as_deref().and_then(|key| runtime.small(key));
        let share = number.map(|numerator| {
            Percent::from_fraction(Fraction { numerator, denominator: self.parts })
        });
        set(&mut self.share.value, share)
    }
}
