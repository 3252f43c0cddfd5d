//! Numbers with bounds.

use std::fmt;

/// Why a number is no share.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("expected a percentage between 0 and 100, found {found}")]
pub struct PercentError {
    /// What was given.
    pub found: f64,
}

/// A share of a whole, 0 to 100 %, exact to a millionth.
///
/// Source: `envoy.type.v3.Percent`, `envoy.type.v3.FractionalPercent`, Istio `Percent`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Percent {
    parts_per_million: u32,
}

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self { parts_per_million: 0 };
    /// The whole.
    pub const HUNDRED: Self = Self { parts_per_million: MILLION };

    /// A whole number of percent.
    ///
    /// # Errors
    /// When `percent` is above 100.
    pub fn from_whole(percent: u32) -> Result<Self, PercentError> {
        Self::from_f64(f64::from(percent))
    }

    /// A share given in percent, rounded to a millionth of the whole.
    ///
    /// # Errors
    /// When `percent` is not between 0 and 100, or not a number.
    pub fn from_f64(percent: f64) -> Result<Self, PercentError> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(PercentError { found: percent });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked above: 0 to a million"
        )]
        let parts_per_million = (percent * 10_000.0).round() as u32;
        Ok(Self { parts_per_million })
    }

    /// A share given as a count of equal parts; more than the whole is the whole.
    ///
    /// Source: `envoy.type.v3.FractionalPercent`, whose numerator may exceed its denominator.
    #[must_use]
    pub fn from_fraction(fraction: Fraction) -> Self {
        let scale = MILLION / fraction.denominator.parts();
        Self { parts_per_million: fraction.numerator.saturating_mul(scale).min(MILLION) }
    }

    /// Millionths of the whole, 0 to 1,000,000.
    #[must_use]
    pub const fn parts_per_million(self) -> u32 {
        self.parts_per_million
    }

    /// The share in percent, 0.0 to 100.0.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.parts_per_million) / 10_000.0
    }

    /// Whether something that `draw` decides falls into this share. `draw` is evenly distributed
    /// over all of `u64`.
    #[must_use]
    pub const fn takes(self, draw: u64) -> bool {
        (draw % MILLION as u64) < self.parts_per_million as u64
    }
}

const MILLION: u32 = 1_000_000;

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.as_f64())
    }
}

/// A count of equal parts of a whole. Source: `envoy.type.v3.FractionalPercent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// How many parts.
    pub numerator: u32,
    /// Parts of what size.
    pub denominator: FractionDenominator,
}

/// How many parts make a whole. Source: `envoy.type.v3.FractionalPercent.DenominatorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FractionDenominator {
    /// One part is a percent.
    Hundred,
    /// One part is a hundredth of a percent.
    TenThousand,
    /// One part is a millionth.
    Million,
}

impl FractionDenominator {
    /// How many parts make a whole.
    #[must_use]
    pub const fn parts(self) -> u32 {
        match self {
            Self::Hundred => 100,
            Self::TenThousand => 10_000,
            Self::Million => MILLION,
        }
    }
}

/// How much of the traffic one of several targets takes, relative to its siblings. 0 takes none.
pub type Weight = u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_bounded_and_exact() {
        assert_eq!(Percent::from_f64(0.1).unwrap().parts_per_million(), 1_000);
        assert_eq!(Percent::from_whole(100).unwrap(), Percent::HUNDRED);
        assert!(Percent::from_f64(100.1).is_err());
        assert!(Percent::from_f64(-0.1).is_err());
        assert!(Percent::from_f64(f64::NAN).is_err());
    }

    #[test]
    fn a_fraction_above_the_whole_is_the_whole() {
        let fraction = Fraction { numerator: 200, denominator: FractionDenominator::Hundred };
        assert_eq!(Percent::from_fraction(fraction), Percent::HUNDRED);
    }

    #[test]
    fn zero_takes_nothing_and_hundred_takes_all() {
        assert!((0..2_000_000_u64).step_by(999).all(|draw| Percent::HUNDRED.takes(draw)));
        assert!((0..2_000_000_u64).step_by(999).all(|draw| !Percent::ZERO.takes(draw)));
    }
}
