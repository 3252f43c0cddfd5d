//! Secrets.

use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{transport, validation};
use crate::problem::{At, Fault};
use iako_proxy_config::{Secret, SecretKind};

pub(super) fn secret(secret: &pb::Secret, at: &At<'_>) -> Result<Secret, Fault> {
    use pb::secret::Type;
    if secret.name.is_empty() {
        return Err(at.field("name").missing("write the name that TLS settings refer to"));
    }
    let kind = match &secret.r#type {
        Some(Type::TlsCertificate(certificate)) => {
            let at = at.field("tls_certificate");
            let (chain, key) = transport::certificate_pair(certificate, &at)?;
            SecretKind::Certificate { chain, key, staple: transport::staple(certificate, &at)? }
        }
        Some(Type::ValidationContext(context)) => {
            let at = at.field("validation_context");
            SecretKind::Trust(Box::new(validation::validation_context(context, &at)?))
        }
        Some(Type::SessionTicketKeys(keys)) => {
            let at = at.field("session_ticket_keys");
            SecretKind::TicketKeys(transport::ticket_keys(keys, &at)?)
        }
        Some(Type::GenericSecret(_)) => {
            let help = "only certificates and trusted roots are secrets here";
            return Err(at.field("generic_secret").invalid("is not supported", help));
        }
        None => return Err(at.missing("write `tls_certificate` or `validation_context`")),
    };
    Ok(Secret { name: secret.name.clone(), kind })
}
