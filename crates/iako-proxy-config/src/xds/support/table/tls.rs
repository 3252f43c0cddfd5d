//! TLS and secrets.

use crate::xds::support::MessageSupport;

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
            "disable_stateless_session_resumption",
            "disable_stateful_session_resumption",
        ],
        warned: &[
            (
                "every proxy makes session keys of its own",
                &[
                    "session_ticket_keys",
                    "session_ticket_keys_sds_secret_config",
                    "session_timeout",
                ],
            ),
            ("certificates are not stapled", &["ocsp_staple_policy"]),
            ("the server chooses", &["prefer_client_ciphers"]),
            (
                "the first certificate that fits the name is shown",
                &["full_scan_certs_on_sni_mismatch"],
            ),
        ],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        honoured: &["common_tls_context", "sni", "auto_sni_san_validation"],
        warned: &[
            ("renegotiation does not exist here", &["allow_renegotiation"]),
            ("sessions are kept by the library", &["max_session_keys"]),
            ("key usage is always checked", &["enforce_rsa_key_usage"]),
        ],
        refused: &[("use auto_sni of HttpProtocolOptions", &["auto_host_sni"])],
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
        ],
        warned: &[("keys are never logged", &["key_log"])],
        refused: &[
            (
                "use validation_context or combined_validation_context",
                &[
                    "validation_context_certificate_provider",
                    "validation_context_certificate_provider_instance",
                ],
            ),
            (
                "this proxy does not have it",
                &[
                    "tls_certificate_provider_instance",
                    "custom_tls_certificate_selector",
                    "tls_certificate_certificate_provider",
                    "tls_certificate_certificate_provider_instance",
                    "custom_handshaker",
                ],
            ),
        ],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
        honoured: &["default_validation_context", "validation_context_sds_secret_config"],
        warned: &[],
        refused: &[(
            "this proxy does not have it",
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
        ],
        warned: &[(
            "the library's choice is used, post-quantum first",
            &["ecdh_curves", "signature_algorithms", "compliance_policies"],
        )],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
        honoured: &["certificate_chain", "private_key"],
        warned: &[
            ("files are read when the resource arrives", &["watched_directory"]),
            ("certificates are not stapled", &["ocsp_staple", "signed_certificate_timestamp"]),
        ],
        refused: &[(
            "this proxy does not have it",
            &["pkcs12", "private_key_provider", "password", "tls_params"],
        )],
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
        ],
        warned: &[
            ("files are read when the resource arrives", &["watched_directory"]),
            ("the list of authorities is never sent", &["suppress_client_ca_list"]),
        ],
        refused: &[(
            "this proxy does not have it",
            &[
                "ca_certificate_provider_instance",
                "require_signed_certificate_timestamp",
                "allow_expired_certificate",
                "trust_chain_verification",
                "custom_validator_config",
                "only_verify_leaf_cert_crl",
                "max_verify_depth",
            ],
        )],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts",
        honoured: &[],
        warned: &[],
        refused: &[],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
        honoured: &["san_type", "matcher"],
        warned: &[],
        refused: &[("this proxy does not have it", &["oid"])],
    },
    MessageSupport {
        name: "envoy.extensions.transport_sockets.tls.v3.Secret",
        honoured: &["name", "tls_certificate", "validation_context"],
        warned: &[],
        refused: &[
            ("every proxy makes session keys of its own", &["session_ticket_keys"]),
            ("only certificates and trusted roots are secrets here", &["generic_secret"]),
        ],
    },
];
