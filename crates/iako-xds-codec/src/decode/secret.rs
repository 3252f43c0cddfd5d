//! Secrets.

use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{transport, validation, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{Secret, SecretBytes, SecretKind};

pub(super) fn secret(secret: &pb::Secret, at: &At<'_>) -> Result<Secret, Fault> {
    use pb::secret::Type;
    if secret.name.is_empty() {
        return Err(at.field("name").missing("write the name that settings refer to"));
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
        Some(Type::GenericSecret(generic)) => {
            let at = at.field("generic_secret");
            let at = at.field("secret");
            let source = generic.secret.as_ref();
            let source = source.ok_or_else(|| at.missing("write the secret, or name its file"))?;
            SecretKind::Generic(SecretBytes::new(wire::data_source(source, &at)?))
        }
        None => {
            let help = "write `tls_certificate`, `validation_context` or `generic_secret`";
            return Err(at.missing(help));
        }
    };
    Ok(Secret { name: secret.name.clone(), kind })
}
