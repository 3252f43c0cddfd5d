//! Secrets.

use iako_xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{transport, wire};
use crate::xds::problem::{At, Fault};
use crate::{Pem, Secret, SecretKind};

pub(super) fn secret(secret: &pb::Secret, at: &At<'_>) -> Result<Secret, Fault> {
    use pb::secret::Type;
    if secret.name.is_empty() {
        return Err(at.field("name").missing("write the name that TLS settings refer to"));
    }
    let kind = match &secret.r#type {
        Some(Type::TlsCertificate(certificate)) => {
            let (chain, key) =
                transport::certificate_pair(certificate, &at.field("tls_certificate"))?;
            SecretKind::Certificate { chain, key }
        }
        Some(Type::ValidationContext(context)) => {
            let at = at.field("validation_context");
            let at_roots = at.field("trusted_ca");
            let roots = context
                .trusted_ca
                .as_ref()
                .ok_or_else(|| at_roots.missing("write roots in PEM"))?;
            SecretKind::Trust {
                roots: Pem(wire::text_source(roots, &at_roots)?.into()),
                crl: transport::crl(context, &at)?,
            }
        }
        Some(Type::SessionTicketKeys(_)) => {
            let at = at.field("session_ticket_keys");
            return Err(
                at.invalid("is not supported", "leave it out; every proxy makes keys of its own")
            );
        }
        Some(Type::GenericSecret(_)) => {
            let help = "only certificates and trusted roots are secrets here";
            return Err(at.field("generic_secret").invalid("is not supported", help));
        }
        None => return Err(at.missing("write `tls_certificate` or `validation_context`")),
    };
    Ok(Secret { name: secret.name.clone(), kind })
}
