//! Why a response is not simply the upstream's answer: Envoy's response flags, with our sentence.
//!
//! Operators know the short names from `%RESPONSE_FLAGS%` and from the `response_flags` label.
//! Source: Envoy "access log usage", `RESPONSE_FLAGS`.

use std::fmt;

macro_rules! response_flags {
    ($($variant:ident $short:literal $sentence:literal;)*) => {
        /// One cause that a proxy notes beside a status code.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum ResponseFlag {
            $(#[doc = concat!("`", $short, "`: ", $sentence, ".")] $variant,)*
        }

        impl ResponseFlag {
            /// Every flag, in the order of Envoy's enumeration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in `%RESPONSE_FLAGS%` and in metrics, such as `UF`.
            #[must_use]
            pub const fn short_name(self) -> &'static str {
                match self { $(Self::$variant => $short,)* }
            }

            /// The name in `%RESPONSE_FLAGS_LONG%`, such as `UpstreamConnectionFailure`.
            #[must_use]
            pub const fn long_name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// What happened, in a sentence for a person; no full stop.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

response_flags! {
    FailedLocalHealthCheck "LH" "this proxy's own health check failed";
    NoHealthyUpstream "UH" "no endpoint of the cluster is healthy";
    UpstreamRequestTimeout "UT" "the upstream did not answer within the timeout";
    LocalReset "LR" "this proxy reset the stream";
    UpstreamRemoteReset "UR" "the upstream reset the stream";
    UpstreamConnectionFailure "UF" "no connection to the upstream could be made";
    UpstreamConnectionTermination "UC" "the upstream closed the connection before it answered";
    UpstreamOverflow "UO" "a circuit breaker of the cluster is full";
    NoRouteFound "NR" "no route or filter chain matches";
    DelayInjected "DI" "a configured fault delayed the request";
    FaultInjected "FI" "a configured fault aborted the request";
    RateLimited "RL" "a rate limit refused the request";
    UnauthorizedExternalService "UAEX" "the external authorization service refused the request";
    RateLimitServiceError "RLSE" "the rate limit service could not be asked";
    DownstreamConnectionTermination "DC" "the client went away before the response was complete";
    UpstreamRetryLimitExceeded "URX" "every allowed attempt failed";
    StreamIdleTimeout "SI" "nothing moved on the stream for too long";
    InvalidEnvoyRequestHeaders "IH" "an x-envoy request header has a value that is not allowed";
    DownstreamProtocolError "DPE" "the client broke the HTTP protocol";
    UpstreamMaxStreamDurationReached "UMSDR" "the upstream stream lived longer than allowed";
    ResponseFromCacheFilter "RFCF" "the response came from a cache";
    NoFilterConfigFound "NFCF" "the configuration of a filter has not arrived";
    DurationTimeout "DT" "the request or connection lived longer than allowed";
    UpstreamProtocolError "UPE" "the upstream broke the HTTP protocol";
    NoClusterFound "NC" "the route names a cluster that does not exist";
    OverloadManagerTerminated "OM" "this proxy is overloaded and shed the request";
    DnsResolutionFailed "DF" "the name of the upstream could not be resolved";
    DropOverload "DO" "the control plane told this proxy to drop a share of the traffic";
    DownstreamRemoteReset "DR" "the client reset the stream";
    UnconditionalDropOverload "UDO" "the control plane told this proxy to drop all of the traffic";
}

impl ResponseFlag {
    /// The flag with this short name; exact case, as in a status-code filter's list of flags.
    #[must_use]
    pub fn from_short_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|flag| flag.short_name() == name)
    }
}

impl fmt::Display for ResponseFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short_name())
    }
}

/// The flags of one response, in the order in which they were noted, each once.
///
/// Order matters to people who read logs: Envoy prints `URX,UT`, the later cause last. Holds ten
/// flags, more than any exchange can collect; further ones are ignored. A copy is eight bytes, so
/// it can be part of a metric's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ResponseFlags(u64);

const BITS: u32 = 6;
const MASK: u64 = (1 << BITS) - 1;
const CAPACITY: u32 = 10;

impl ResponseFlags {
    /// No flag: the response is the upstream's own.
    pub const NONE: Self = Self(0);

    /// Notes a flag; a second time changes nothing.
    pub fn insert(&mut self, flag: ResponseFlag) {
        if self.contains(flag) {
            return;
        }
        let free = (0..CAPACITY).find(|place| self.at(*place) == 0);
        if let Some(place) = free {
            self.0 |= (u64::from(flag as u8) + 1) << (place * BITS);
        }
    }

    /// The same set with one flag more.
    #[must_use]
    pub fn with(mut self, flag: ResponseFlag) -> Self {
        self.insert(flag);
        self
    }

    /// True when `flag` was noted.
    #[must_use]
    pub fn contains(self, flag: ResponseFlag) -> bool {
        self.iter().any(|present| present == flag)
    }

    /// True when nothing was noted.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags in the order in which they were noted.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        (0..CAPACITY).map_while(move |place| {
            let number = usize::try_from(self.at(place)).ok()?.checked_sub(1)?;
            ResponseFlag::ALL.get(number).copied()
        })
    }

    /// The set as Envoy tells it as one number: the flag that stands first in its enumeration is the
    /// lowest bit.
    #[must_use]
    pub fn mask(self) -> u64 {
        self.iter().fold(0, |mask, flag| mask | 1 << (flag as u8))
    }

    /// The set as one number, for a key; equal sets in equal order give equal numbers.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Long names joined by commas, `-` when empty: `%RESPONSE_FLAGS_LONG%`.
    #[must_use]
    pub fn long_names(self) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        self.iter().map(ResponseFlag::long_name).collect::<Vec<_>>().join(",")
    }

    fn at(self, place: u32) -> u64 {
        (self.0 >> (place * BITS)) & MASK
    }
}

impl From<ResponseFlag> for ResponseFlags {
    fn from(flag: ResponseFlag) -> Self {
        Self::NONE.with(flag)
    }
}

impl FromIterator<ResponseFlag> for ResponseFlags {
    fn from_iter<I: IntoIterator<Item = ResponseFlag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Short names joined by commas, `-` when empty: `%RESPONSE_FLAGS%` and the metrics label.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (position, flag) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(flag.short_name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseFlags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_in_the_order_they_were_noted_and_once() {
        let flags = ResponseFlags::NONE
            .with(ResponseFlag::UpstreamRetryLimitExceeded)
            .with(ResponseFlag::UpstreamRequestTimeout)
            .with(ResponseFlag::UpstreamRetryLimitExceeded);
        assert_eq!(flags.to_string(), "URX,UT");
        assert_eq!(flags.long_names(), "UpstreamRetryLimitExceeded,UpstreamRequestTimeout");
        assert_eq!(ResponseFlags::NONE.to_string(), "-");
    }

    #[test]
    fn every_flag_survives_the_set_and_its_name() {
        for flag in ResponseFlag::ALL {
            assert!(ResponseFlags::from(*flag).contains(*flag), "{flag}");
            assert_eq!(ResponseFlag::from_short_name(flag.short_name()), Some(*flag));
        }
        let all: ResponseFlags = ResponseFlag::ALL.iter().copied().collect();
        assert_eq!(all.iter().count(), 10);
    }
}
