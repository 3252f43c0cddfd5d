//! TLS and secrets.

use crate::support::MessageSupport;

pub(super) const MESSAGES: &[MessageSupport] = &[
    MessageSupport {
        name: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        honoured: &[
            "common_tls_context",
            "require_client_certificate",
            "require_sni",
            "session_ticket_keys",
            "session_ticket_keys_sds_secret_config",
            "disable_stateless_session_resumption",
            "disable_stateful_session_resumption",
            "session_timeout",
            "ocsp_staple_policy",
            "prefer_client_ciphers",
            "full_scan_certs_on_sni_mismatch",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys",
        honoured: &["keys"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        honoured: &[
            "common_tls_context",
            "sni",
            "auto_host_sni",
            "auto_sni_san_validation",
            "max_session_keys",
        ],
        warned: &[
            ("the TLS library never renegotiates", &["allow_renegotiation"]),
            ("key usage is always checked", &["enforce_rsa_key_usage"]),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
        honoured: &[
            "tls_params",
            "tls_certificates",
            "tls_certificate_sds_secret_configs",
            "validation_context",
            "validation_context_sds_secret_config",
            "combined_validation_context",
            "alpn_protocols",
            "key_log",
        ],
        warned: &[],
        refused: &[
            (
                "use validation_context or combined_validation_context",
                &[
                    "validation_context_certificate_provider",
                    "validation_context_certificate_provider_instance",
                ],
            ),
            (
                "use tls_certificates or tls_certificate_sds_secret_configs",
                &[
                    "tls_certificate_provider_instance",
                    "tls_certificate_certificate_provider",
                    "tls_certificate_certificate_provider_instance",
                ],
            ),
            (
                "a certificate is chosen by server name and kind of key only",
                &["custom_tls_certificate_selector"],
            ),
            ("handshakes are the TLS library's alone", &["custom_handshaker"]),
        ],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.TlsKeyLog",
        honoured: &["path", "local_address_range", "remote_address_range"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
        honoured: &["default_validation_context", "validation_context_sds_secret_config"],
        warned: &[],
        refused: &[(
            "use validation_context_sds_secret_config",
            &[
                "validation_context_certificate_provider",
                "validation_context_certificate_provider_instance",
            ],
        )],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
        honoured: &[
            "tls_minimum_protocol_version",
            "tls_maximum_protocol_version",
            "cipher_suites",
            "ecdh_curves",
        ],
        warned: &[],
        refused: &[
            (
                "the TLS library offers a fixed list of signature algorithms, all of them safe",
                &["signature_algorithms"],
            ),
            ("this build of the TLS library is not a validated one", &["compliance_policies"]),
        ],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
        honoured: &["certificate_chain", "private_key", "ocsp_staple"],
        warned: &[
            ("files are read when the resource arrives", &["watched_directory"]),
            ("no Envoy shows them either", &["signed_certificate_timestamp"]),
        ],
        refused: &[
            ("the TLS library reads PEM: write certificate_chain and private_key", &["pkcs12"]),
            ("the TLS library reads no encrypted keys: write the key in clear", &["password"]),
            ("the TLS library signs with keys in memory only", &["private_key_provider"]),
            ("write tls_params beside the certificates", &["tls_params"]),
        ],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig",
        honoured: &["name", "sds_config"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
        honoured: &[
            "trusted_ca",
            "system_root_certs",
            "verify_certificate_spki",
            "verify_certificate_hash",
            "match_typed_subject_alt_names",
            "match_subject_alt_names",
            "crl",
            "allow_expired_certificate",
            "trust_chain_verification",
            "custom_validator_config",
            "only_verify_leaf_cert_crl",
            "max_verify_depth",
            "suppress_client_ca_list",
        ],
        warned: &[("files are read when the resource arrives", &["watched_directory"])],
        refused: &[
            ("write trusted_ca, or name a secret", &["ca_certificate_provider_instance"]),
            (
                "the TLS library reads no certificate timestamps; no Envoy checks them either",
                &["require_signed_certificate_timestamp"],
            ),
        ],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
        honoured: &["trust_domains", "trust_bundles"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.TrustDomain",
        honoured: &["name", "trust_bundle"],
        warned: &[],
        refused: &[(
            "a peer is checked with the roots of its own trust domain only",
            &["workload_trust_domain"],
        )],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
        honoured: &["san_type", "matcher", "oid"],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.Secret",
        honoured: &[
            "name",
            "tls_certificate",
            "session_ticket_keys",
            "validation_context",
            "generic_secret",
        ],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.GenericSecret",
        honoured: &["secret"],
        warned: &[("nothing here names secrets within a secret", &["secrets"])],
        refused: &[],
    },
];
