//! Extensions that travel as a free structure beside the name of their type, which is how Istio
//! sends those that Envoy's schemas do not have.

use iako_xds_api::{udpa, xds};
use prost::{Message as _, Name as _};
use prost_reflect::MessageDescriptor;
use prost_types::{Any, Struct};

use crate::pool;
use crate::problem::{At, Fault};
use crate::{support, text};

/// An extension, unwrapped.
pub(super) enum Extension {
    /// The bytes of the message that the type names.
    Message(Any),
    /// The fields of a message that has no schema here.
    Fields(String, Struct),
}

impl Extension {
    pub(super) fn type_name(&self) -> &str {
        match self {
            Self::Message(any) => pool::full_name(&any.type_url),
            Self::Fields(type_url, _) => pool::full_name(type_url),
        }
    }
}

fn wrapped(any: &Any) -> Option<(String, Struct)> {
    let name = pool::full_name(&any.type_url);
    if name == udpa::r#type::v1::TypedStruct::full_name() {
        let wrapped = udpa::r#type::v1::TypedStruct::decode(any.value.as_slice()).ok()?;
        return Some((wrapped.type_url, wrapped.value.unwrap_or_default()));
    }
    if name == xds::r#type::v3::TypedStruct::full_name() {
        let wrapped = xds::r#type::v3::TypedStruct::decode(any.value.as_slice()).ok()?;
        return Some((wrapped.type_url, wrapped.value.unwrap_or_default()));
    }
    None
}

/// The full name of an extension's type, looked for inside a structure too.
pub(super) fn type_name(any: &Any) -> String {
    wrapped(any).map_or_else(
        || pool::full_name(&any.type_url).to_owned(),
        |(type_url, _)| pool::full_name(&type_url).to_owned(),
    )
}

/// Unwraps an extension, as a message where its schema is known.
pub(super) fn unwrap(any: &Any, at: &At<'_>) -> Result<Extension, Fault> {
    let Some((type_url, fields)) = wrapped(any) else { return Ok(Extension::Message(any.clone())) };
    let Some(descriptor) = known(&type_url) else {
        return Ok(Extension::Fields(type_url, fields));
    };
    let message = text::from_struct(&fields, &descriptor).map_err(|fault| {
        let at = at.field("value");
        at.invalid(format!("{}: {}", fault.path, fault.problem), fault.help)
    })?;
    Ok(Extension::Message(Any { type_url, value: message.encode_to_vec() }))
}

/// The message inside a structure, for the walk over set fields. A structure that does not fit its
/// message is left for [`unwrap`] to refuse.
pub(crate) fn content(type_url: &str, bytes: &[u8]) -> Option<Any> {
    let name = pool::full_name(type_url);
    if name != udpa::r#type::v1::TypedStruct::full_name()
        && name != xds::r#type::v3::TypedStruct::full_name()
    {
        return None;
    }
    let (type_url, fields) =
        wrapped(&Any { type_url: type_url.to_owned(), value: bytes.to_vec() })?;
    let message = text::from_struct(&fields, &known(&type_url)?).ok()?;
    Some(Any { type_url, value: message.encode_to_vec() })
}

/// The descriptor of a type that we do something with. Asking for others would load all of them.
fn known(type_url: &str) -> Option<MessageDescriptor> {
    if support::knows(pool::full_name(type_url)) { pool::message(type_url) } else { None }
}
