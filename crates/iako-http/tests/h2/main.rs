//! HTTP/2 (RFC 9113): rules by section, floods, flow control, and whole conversations in memory.

#[cfg(test)]
mod rig;

#[cfg(test)]
mod control;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod flow_control;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod states;
