//! Istio's own admission cases: what its webhook refuses, we refuse; what it accepts, we accept.
//!
//! Each case is a specification in one line. The numbers are those of our catalogue of Istio's
//! checks.

use iako_resources::{FileContent, ReadOptions, Severity, read_text};

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is refused.
    Refuse,
    /// It is accepted with a warning.
    Warn,
    /// It is accepted in silence.
    Accept,
}
use Verdict::{Accept, Refuse, Warn};

fn read(api_version: &str, kind: &str, metadata: &str, spec: &str) -> FileContent {
    let text = format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x{metadata}}}\nspec: {spec}\n"
    );
    read_text(&text, "case.yaml", &ReadOptions::default())
}

fn verdict(content: &FileContent) -> Verdict {
    assert!(content.complete, "the case itself is broken: {:?}", content.diagnostics);
    let has = |severity| content.diagnostics.iter().any(|d| d.severity == severity);
    let verdict = match (has(Severity::Error), has(Severity::Warning)) {
        (true, _) => Refuse,
        (false, true) => Warn,
        (false, false) => Accept,
    };
    assert_eq!(content.resources.is_empty(), verdict == Refuse, "{:?}", content.diagnostics);
    verdict
}

fn check_all(api_version: &str, kind: &str, cases: &[(u16, Verdict, &str)]) {
    let mut wrong = Vec::new();
    for (number, expected, spec) in cases {
        let content = read(api_version, kind, "", spec);
        let found = verdict(&content);
        if found != *expected {
            let told: Vec<&str> = content.diagnostics.iter().map(|d| d.message.as_str()).collect();
            wrong.push(format!("V{number:03} {spec}: {found:?} {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const NETWORKING: &str = "networking.istio.io/v1";
const SECURITY: &str = "security.istio.io/v1";

/// A VirtualService with one rule that also routes.
fn http(rule: &str) -> String {
    format!("{{hosts: [a], http: [{{{rule}, route: [{{destination: {{host: a}}}}]}}]}}")
}

#[test]
fn virtual_service_objects() {
    check_all(
        NETWORKING,
        "VirtualService",
        &[
            (
                7,
                Refuse,
                "{hosts: [a], http: [{route: [{destination: {host: a}}], corsPolicy: {unmatchedPreflights: BLAH}}]}",
            ),
            (
                10,
                Refuse,
                "{hosts: [a], exportTo: [b, b], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (
                11,
                Refuse,
                "{hosts: [a], exportTo: ['*', b], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (
                13,
                Refuse,
                "{hosts: [a], exportTo: [my_ns], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (23, Refuse, "{hosts: [a]}"),
            (
                25,
                Refuse,
                "{tls: [{match: [{sniHosts: [a.b]}], route: [{destination: {host: a}}]}]}",
            ),
            (
                28,
                Refuse,
                "{hosts: ['*.foo.com', a.foo.com], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (29, Refuse, "{hosts: [a, a], http: [{route: [{destination: {host: a}}]}]}"),
            (31, Refuse, "{hosts: [foo.123], http: [{route: [{destination: {host: a}}]}]}"),
            (
                32,
                Refuse,
                "{hosts: [a], gateways: [/gw], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (
                32,
                Refuse,
                "{hosts: [a], gateways: [ns/], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (
                34,
                Warn,
                "{hosts: [a], gateways: [gw.ns.svc.cluster.local], http: [{route: [{destination: {host: a}}]}]}",
            ),
            (35, Refuse, "{hosts: [a], http: [{match: [{uri: {prefix: /}}]}]}"),
            (
                40,
                Refuse,
                "{hosts: [a], http: [{directResponse: {status: 200}, route: [{destination: {host: a}}]}]}",
            ),
            (
                61,
                Warn,
                "{hosts: [a], http: [{route: [{destination: {host: a}}]}, {route: [{destination: {host: a}}]}]}",
            ),
            (
                62,
                Warn,
                "{hosts: [a], http: [{route: [{destination: {host: a}}]}, {match: [{uri: {exact: /a}}], route: [{destination: {host: a}}]}]}",
            ),
            (
                64,
                Warn,
                "{hosts: [a], http: [{match: [{uri: {exact: /a}}], route: [{destination: {host: a}}]}, {match: [{uri: {exact: /a}}], route: [{destination: {host: a}}]}]}",
            ),
            (
                65,
                Warn,
                "{hosts: [a], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: a}}]}, {match: [{uri: {prefix: /a/b}}], route: [{destination: {host: a}}]}]}",
            ),
            (112, Refuse, "{hosts: [a], http: [{route: [{weight: 100}]}]}"),
            (113, Refuse, "{hosts: [a], http: [{route: [{destination: {host: '*'}}]}]}"),
            (
                115,
                Refuse,
                "{hosts: [a], http: [{route: [{destination: {host: a, port: {number: 0}}}]}]}",
            ),
            (
                115,
                Refuse,
                "{hosts: [a], http: [{route: [{destination: {host: a, port: {number: 99999}}}]}]}",
            ),
            (116, Refuse, "{hosts: [a], http: [{route: [{destination: {host: a}, weight: -1}]}]}"),
            (
                118,
                Accept,
                "{hosts: [a], http: [{route: [{destination: {host: a}, weight: 3}, {destination: {host: b}, weight: 4}]}]}",
            ),
            (119, Refuse, "{hosts: [a.b], tls: [{route: [{destination: {host: a}}]}]}"),
            (
                121,
                Refuse,
                "{hosts: [a.b], tls: [{match: [{sniHosts: [c.d]}], route: [{destination: {host: a}}]}]}",
            ),
            (
                122,
                Warn,
                "{hosts: [127.0.0.1], tls: [{match: [{sniHosts: [127.0.0.1]}], route: [{destination: {host: a}}]}]}",
            ),
            (124, Refuse, "{hosts: [a.b], tls: [{match: [{sniHosts: [a.b]}]}]}"),
            (124, Refuse, "{hosts: [a.b], tcp: [{match: [{port: 80}]}]}"),
            (
                125,
                Refuse,
                "{hosts: [a.b], tcp: [{match: [{gateways: [A_B]}], route: [{destination: {host: a}}]}]}",
            ),
        ],
    );
}

#[test]
fn virtual_service_rules() {
    let big = "x".repeat((1 << 20) + 1);
    let large = "x".repeat((100 << 10) + 1);
    let long = "a".repeat(1025);
    let cases: Vec<(u16, Verdict, String)> = vec![
        (8, Refuse, http("timeout: 5")),
        (8, Refuse, http("timeout: 1d")),
        (43, Refuse, http("mirror: {host: a}, mirrors: [{destination: {host: a}}]")),
        (44, Refuse, http("delegate: {name: b}")),
        (47, Refuse, http("match: [{headers: {'': {exact: a}}}]")),
        (49, Refuse, http("match: [{headers: {foo: }}]")),
        (50, Refuse, http("match: [{headers: {foo: {prefix: ''}}}]")),
        (52, Accept, http("match: [{withoutHeaders: {foo: {regex: '*'}}}]")),
        (53, Accept, http("match: [{uri: {prefix: ''}}]")),
        (55, Refuse, http("match: [{uri: {regex: '(?!foo)'}}]")),
        (56, Refuse, http(&format!("match: [{{uri: {{regex: {long}}}}}]"))),
        (58, Refuse, http("match: [{port: 65536}]")),
        (59, Refuse, http("match: [{sourceNamespace: Not A Label}]")),
        (67, Refuse, http("headers: {request: {set: {':path': /}}}")),
        (68, Refuse, http("headers: {request: {remove: [host]}}")),
        (70, Refuse, http("headers: {request: {set: {a: abc%123}}}")),
        (70, Refuse, http("headers: {request: {set: {a: 100%}}}")),
        (71, Refuse, http("headers: {request: {set: {a: \"b\\nc\"}}}")),
        (73, Refuse, http("headers: {request: {set: {host: a}, add: {':authority': b}}}")),
        (74, Refuse, http("corsPolicy: {allowOrigins: [{exact: ''}]}")),
        (76, Refuse, http("corsPolicy: {allowHeaders: [bad header]}")),
        (77, Refuse, http("corsPolicy: {maxAge: 1.5s}")),
        (79, Refuse, http("fault: {abort: {httpStatus: 100, percentage: {value: 1}}}")),
        (80, Refuse, http("fault: {abort: {http2Error: a, percentage: {value: 1}}}")),
        (82, Warn, http("fault: {abort: {percentage: {value: 1}}}")),
        (83, Refuse, http("fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}")),
        (85, Refuse, http("fault: {delay: {fixedDelay: 1s, percentage: {value: 0.00001}}}")),
        (86, Refuse, http("fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}")),
        (86, Refuse, http("fault: {delay: {fixedDelay: 1s, percentage: {value: -1}}}")),
        (88, Refuse, http("mirror: {host: a}, mirrorPercentage: {value: -1}")),
        (89, Warn, http("mirror: {host: a}, mirrorPercent: 5")),
        (91, Refuse, http("mirrors: [{percentage: {value: 1}}]")),
        (92, Refuse, http("mirrors: [{destination: {host: a}, percentage: {value: 101}}]")),
        (103, Refuse, http("rewrite: {}")),
        (104, Refuse, http("rewrite: {uriRegexRewrite: {match: a}}")),
        (106, Refuse, http("retries: {attempts: -1}")),
        (107, Refuse, http("retries: {attempts: 0, perTryTimeout: 2s}")),
        (109, Refuse, http("retries: {attempts: 1, retryOn: foo}")),
        (110, Refuse, http("retries: {attempts: 1, retryOn: '5xx, gateway-error'}")),
        (110, Accept, http("retries: {attempts: 1, retryOn: '5xx,gateway-error,503'}")),
    ];
    let redirect = |rule: &str| format!("{{hosts: [a], http: [{{{rule}}}]}}");
    let more: Vec<(u16, Verdict, String)> = vec![
        (
            37,
            Refuse,
            redirect(
                "redirect: {uri: /a}, fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}",
            ),
        ),
        (38, Refuse, redirect("redirect: {uri: /a}, rewrite: {uri: /b}")),
        (
            41,
            Refuse,
            redirect(
                "directResponse: {status: 200}, fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}",
            ),
        ),
        (94, Refuse, redirect("redirect: {uri: /a, prefixRewrite: /b}")),
        (95, Refuse, redirect("match: [{uri: {exact: /c}}], redirect: {prefixRewrite: /b}")),
        (97, Refuse, redirect("redirect: {scheme: ftp}")),
        (98, Refuse, redirect("redirect: {port: 70000}")),
        (
            100,
            Refuse,
            redirect(&format!("directResponse: {{status: 200, body: {{string: {big}}}}}")),
        ),
        (
            101,
            Warn,
            redirect(&format!("directResponse: {{status: 200, body: {{string: {large}}}}}")),
        ),
    ];
    let all: Vec<(u16, Verdict, &str)> = cases
        .iter()
        .chain(&more)
        .map(|(number, verdict, spec)| (*number, *verdict, spec.as_str()))
        .collect();
    check_all(NETWORKING, "VirtualService", &all);
}

#[test]
fn destination_rules() {
    let policy = |policy: &str| format!("{{host: a, trafficPolicy: {{{policy}}}}}");
    let cases: Vec<(u16, Verdict, String)> = vec![
        (127, Refuse, "{host: foo.*.com}".to_owned()),
        (128, Refuse, "{host: a, trafficPolicy: {}}".to_owned()),
        (130, Refuse, "{host: a, subsets: [{name: ''}]}".to_owned()),
        (131, Refuse, "{host: a, subsets: [{name: v1.0}]}".to_owned()),
        (133, Refuse, "{host: a, subsets: [null]}".to_owned()),
        (
            134,
            Refuse,
            policy("tunnel: {targetHost: a.b, targetPort: 1}, proxyProtocol: {version: V1}"),
        ),
        (139, Refuse, policy("connectionPool: {tcp: {maxConnections: -1}}")),
        (140, Refuse, policy("connectionPool: {tcp: {connectTimeout: 0.5ms}}")),
        (142, Refuse, policy("connectionPool: {http: {maxRetries: -1}}")),
        (
            143,
            Refuse,
            policy("connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}"),
        ),
        (146, Warn, policy("outlierDetection: {consecutiveErrors: 5}")),
        (148, Refuse, policy("outlierDetection: {maxEjectionPercent: 101}")),
        (148, Refuse, policy("outlierDetection: {maxEjectionPercent: -1}")),
        (149, Refuse, policy("outlierDetection: {minHealthPercent: 150}")),
        (151, Refuse, policy("loadBalancer: {consistentHash: {httpCookie: {ttl: 1s}}}")),
        (
            152,
            Refuse,
            policy(
                "loadBalancer: {consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: b}]}}}",
            ),
        ),
        (
            154,
            Refuse,
            policy(
                "loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 1, maglev: {tableSize: 7}}}",
            ),
        ),
        (
            155,
            Refuse,
            policy("loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 0}}}"),
        ),
        (
            157,
            Refuse,
            policy(
                "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}}",
            ),
        ),
        (
            158,
            Refuse,
            policy(
                "loadBalancer: {localityLbSetting: {enabled: true}, zoneAwareLbSetting: {enabled: true}}",
            ),
        ),
        (
            160,
            Refuse,
            policy("loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 50}}]}}"),
        ),
        (
            161,
            Refuse,
            policy(
                "loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {b: 0, c: 100}}]}}",
            ),
        ),
        (
            163,
            Refuse,
            policy(
                "loadBalancer: {localityLbSetting: {distribute: [{from: r1/*/s1, to: {b: 100}}]}}",
            ),
        ),
        (
            164,
            Refuse,
            policy(
                "outlierDetection: {interval: 1s}, loadBalancer: {localityLbSetting: {failover: [{from: a, to: a}]}}",
            ),
        ),
        (
            166,
            Refuse,
            policy(
                "outlierDetection: {interval: 1s}, loadBalancer: {localityLbSetting: {failover: [{from: a, to: b*}]}}",
            ),
        ),
        (167, Warn, policy("loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}")),
        (169, Refuse, policy("loadBalancer: {warmup: {minimumPercent: 1}}")),
        (170, Refuse, policy("loadBalancer: {warmup: {duration: 1s, minimumPercent: 101}}")),
        (172, Refuse, policy("loadBalancer: {warmup: {duration: 1s}, warmupDurationSecs: 1s}")),
        (173, Refuse, policy("portLevelSettings: [{tls: {mode: SIMPLE}}]")),
        (175, Refuse, policy("tls: {mode: MUTUAL, privateKey: a}")),
        (176, Refuse, policy("tls: {mode: MUTUAL, clientCertificate: a}")),
        (178, Refuse, policy("tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: a}")),
        (
            179,
            Refuse,
            policy(
                "tls: {mode: MUTUAL, clientCertificate: a, privateKey: b, insecureSkipVerify: true, subjectAltNames: [a]}",
            ),
        ),
        (
            181,
            Refuse,
            "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: ['*']}".to_owned(),
        ),
        (
            182,
            Refuse,
            "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [., b]}".to_owned(),
        ),
        (
            182,
            Accept,
            "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [.]}".to_owned(),
        ),
    ];
    let all: Vec<(u16, Verdict, &str)> =
        cases.iter().map(|(number, verdict, spec)| (*number, *verdict, spec.as_str())).collect();
    check_all(NETWORKING, "DestinationRule", &all);
}

#[test]
fn gateways() {
    let server = |server: &str| format!("{{servers: [{{{server}}}]}}");
    let http = "port: {number: 80, name: http, protocol: HTTP}";
    let https = "port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b]";
    let cases: Vec<(u16, Verdict, String)> = vec![
        (185, Refuse, server(http)),
        (185, Refuse, server(&format!("{http}, hosts: []"))),
        (187, Refuse, server("port: {number: 80, name: a, protocol: FOO}, hosts: [a.b]")),
        (188, Refuse, server("port: {number: 0, name: a, protocol: HTTP}, hosts: [a.b]")),
        (190, Refuse, format!("{{servers: [{{{http}, hosts: [a.b]}}, {{{http}, hosts: [c.d]}}]}}")),
        (
            191,
            Refuse,
            server("port: {number: 80, targetPort: 81, name: a, protocol: HTTP}, hosts: [a.b]"),
        ),
        (193, Refuse, server(&format!("{http}, hosts: ['*foo.com']"))),
        (194, Refuse, server(&format!("{http}, hosts: [ns/]"))),
        (194, Refuse, server(&format!("{http}, hosts: [/host]"))),
        (196, Refuse, server(&format!("{http}, hosts: [a.b], bind: here"))),
        (
            199,
            Refuse,
            server(&format!("{http}, hosts: [a.b], tls: {{mode: SIMPLE, credentialName: a}}")),
        ),
        (199, Accept, server(&format!("{http}, hosts: [a.b], tls: {{httpsRedirect: true}}"))),
        (
            200,
            Refuse,
            server(
                "port: {number: 80, name: a, protocol: TCP}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: a}",
            ),
        ),
        (202, Refuse, server(&format!("{https}, tls: {{mode: SIMPLE}}"))),
        (203, Refuse, server(&format!("{https}, tls: {{mode: SIMPLE, serverCertificate: a}}"))),
        (
            205,
            Refuse,
            server(&format!(
                "{https}, tls: {{mode: ISTIO_MUTUAL, serverCertificate: a, privateKey: b}}"
            )),
        ),
        (206, Refuse, server(&format!("{https}, tls: {{mode: ISTIO_MUTUAL, credentialName: a}}"))),
        (
            208,
            Refuse,
            server(&format!("{https}, tls: {{mode: SIMPLE, credentialNames: [a, b, c]}}")),
        ),
        (
            209,
            Warn,
            server(&format!(
                "{https}, tls: {{mode: PASSTHROUGH, serverCertificate: a, privateKey: b}}"
            )),
        ),
        (
            211,
            Warn,
            server(&format!(
                "{https}, tls: {{mode: SIMPLE, credentialName: a, cipherSuites: [FOO]}}"
            )),
        ),
        (
            212,
            Warn,
            server(&format!(
                "{https}, tls: {{mode: SIMPLE, credentialName: a, cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-AES128-GCM-SHA256]}}"
            )),
        ),
        (212, Accept, server(&format!("{https}, tls: {{mode: SIMPLE, credentialName: a}}"))),
    ];
    let all: Vec<(u16, Verdict, &str)> =
        cases.iter().map(|(number, verdict, spec)| (*number, *verdict, spec.as_str())).collect();
    check_all(NETWORKING, "Gateway", &all);
}

#[test]
fn service_and_workload_entries() {
    check_all(
        NETWORKING,
        "ServiceEntry",
        &[
            (215, Refuse, "{ports: [{number: 80, name: http, protocol: HTTP}]}"),
            (215, Refuse, "{hosts: [], ports: [{number: 80, name: http, protocol: HTTP}]}"),
            (
                218,
                Refuse,
                "{hosts: [a.b], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 127.0.0.1}]}",
            ),
            (220, Refuse, "{hosts: [a.b], resolution: NONE, endpoints: [{address: 127.0.0.1}]}"),
            (221, Refuse, "{hosts: [a.b], ports: [{number: 80, name: a}, {number: 80, name: b}]}"),
            (223, Refuse, "{hosts: [a.b], ports: [{number: 0, name: a}]}"),
            (223, Refuse, "{hosts: [a.b], ports: [{number: 65536, name: a}]}"),
            (224, Refuse, "{hosts: [a.b], ports: [{number: 80, targetPort: 65536, name: a}]}"),
            (226, Refuse, "{hosts: [a.b], ports: [{number: 80, name: my_port}]}"),
            (
                227,
                Refuse,
                "{hosts: [a.b], addresses: [1.2.3.4/33], ports: [{number: 80, name: a}]}",
            ),
            (
                229,
                Refuse,
                "{hosts: ['*.foo.com'], resolution: DNS, ports: [{number: 80, name: a}]}",
            ),
            (
                230,
                Refuse,
                "{hosts: [a.b], resolution: DNS_ROUND_ROBIN, ports: [{number: 80, name: a}], endpoints: [{address: a.b}, {address: c.d}]}",
            ),
            (
                232,
                Refuse,
                "{hosts: [a.b], resolution: DNS, ports: [{number: 80, name: a}], endpoints: [{address: 'a b'}]}",
            ),
            (
                233,
                Refuse,
                "{hosts: [a.b], resolution: STATIC, ports: [{number: 80, name: a}], endpoints: [{address: 127.0.0.1, ports: {b: 81}}]}",
            ),
            (
                235,
                Refuse,
                "{hosts: [a.b], resolution: STATIC, ports: [{number: 80, name: a}], endpoints: [{address: 'unix:///a', ports: {a: 81}}]}",
            ),
            (
                238,
                Refuse,
                "{hosts: [a.b, c.d], resolution: DNS, ports: [{number: 80, name: a, protocol: TCP}]}",
            ),
            (
                241,
                Refuse,
                "{hosts: ['*.a.b'], resolution: DYNAMIC_DNS, addresses: [127.0.0.1], ports: [{number: 80, name: a}]}",
            ),
            (244, Refuse, "{hosts: [a.b], exportTo: ['~', b], ports: [{number: 80, name: a}]}"),
            (244, Accept, "{hosts: [a.b], exportTo: ['~'], ports: [{number: 80, name: a}]}"),
        ],
    );
    check_all(
        NETWORKING,
        "WorkloadEntry",
        &[
            (245, Refuse, "{labels: {a: b}}"),
            (247, Refuse, "{address: 'a b'}"),
            (248, Refuse, "{address: 'unix:///a', ports: {a: 80}}"),
            (250, Refuse, "{address: 127.0.0.1, ports: {a: 0}}"),
            (250, Accept, "{address: 127.0.0.1, ports: {a: 80}}"),
        ],
    );
}

#[test]
fn sidecars() {
    check_all(
        NETWORKING,
        "Sidecar",
        &[
            (260, Refuse, "{workloadSelector: {labels: {a: b}}}"),
            (271, Refuse, "{egress: [{hosts: [foo.com]}]}"),
            (272, Refuse, "{egress: [{hosts: [ns/short]}]}"),
            (274, Refuse, "{egress: [{hosts: ['ns/*foo.com']}]}"),
            (281, Warn, "{egress: [{hosts: ['*/*', ./a.com]}]}"),
            (283, Refuse, "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b}}}"),
            (
                283,
                Accept,
                "{egress: [{hosts: [./*, istio-system/*]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
            ),
        ],
    );
}

#[test]
fn authentication() {
    check_all(
        SECURITY,
        "PeerAuthentication",
        &[
            (14, Refuse, "{selector: {matchLabels: {'': a}}}"),
            (16, Refuse, "{selector: {matchLabels: {a: b*}}}"),
            (17, Warn, "{selector: {matchLabels: {}}, mtls: {mode: STRICT}}"),
            (302, Refuse, "{portLevelMtls: {80: {mode: STRICT}}}"),
            (304, Refuse, "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: STRICT}}}"),
            (
                304,
                Refuse,
                "{selector: {matchLabels: {a: b}}, portLevelMtls: {65536: {mode: STRICT}}}",
            ),
            (305, Refuse, "{mtls: {mode: SUPER_STRICT}}"),
            (
                305,
                Accept,
                "{selector: {matchLabels: {a: b}}, mtls: {mode: UNSET}, portLevelMtls: {80: {mode: DISABLE}}}",
            ),
        ],
    );
    check_all(
        SECURITY,
        "RequestAuthentication",
        &[
            (307, Refuse, "{jwtRules: [{audiences: [a]}]}"),
            (308, Refuse, "{jwtRules: [{issuer: a, jwksUri: 'ftp://a'}]}"),
            (310, Refuse, "{jwtRules: [{issuer: a, jwks: hello}]}"),
            (311, Warn, r#"{jwtRules: [{issuer: a, jwks: '{"keys":[{"kty":"RSA","d":"x"}]}'}]}"#),
            (313, Refuse, "{jwtRules: [{issuer: a, fromHeaders: [{name: ''}]}]}"),
            (314, Refuse, "{jwtRules: [{issuer: a, fromParams: ['']}]}"),
            (316, Refuse, "{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: a}]}]}"),
            (
                317,
                Refuse,
                "{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: a.b, claim: c}]}]}",
            ),
            (
                317,
                Accept,
                "{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: a-b, claim: c}]}]}",
            ),
        ],
    );
}

#[test]
fn authorization_policies() {
    let many = (0..17).map(|n| format!("a{n}")).collect::<Vec<_>>().join(", ");
    let many = format!("{{rules: [{{from: [{{source: {{serviceAccounts: [{many}]}}}}]}}]}}");
    check_all(
        SECURITY,
        "AuthorizationPolicy",
        &[
            (19, Refuse, "{targetRefs: [{kind: Service, name: a, namespace: b}]}"),
            (319, Refuse, "{action: DENY}"),
            (320, Refuse, "{action: CUSTOM, provider: {name: a}}"),
            (322, Refuse, "{provider: {name: a}, rules: [{}]}"),
            (326, Refuse, "{rules: [{from: []}]}"),
            (328, Refuse, "{rules: [{from: [{source: {}}]}]}"),
            (329, Refuse, "{rules: [{to: [{operation: {}}]}]}"),
            (331, Refuse, "{rules: [{from: [{source: {ipBlocks: [1.2.3]}}]}]}"),
            (332, Refuse, "{rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/64]}}]}]}"),
            (334, Refuse, "{rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}"),
            (335, Refuse, "{rules: [{from: [{source: {serviceAccounts: [a*]}}]}]}"),
            (337, Refuse, &many),
            (338, Refuse, "{rules: [{from: [{source: {trustDomains: [a/b]}}]}]}"),
            (338, Refuse, "{rules: [{from: [{source: {trustDomains: [a*b]}}]}]}"),
            (340, Refuse, "{rules: [{to: [{operation: {paths: ['/foo/{*}bar']}}]}]}"),
            (341, Refuse, "{rules: [{to: [{operation: {paths: ['/foo/{*}/*']}}]}]}"),
            (343, Refuse, "{rules: [{when: [{key: source.ip}]}]}"),
            (344, Refuse, "{rules: [{when: [{key: request.foo, values: [a]}]}]}"),
            (346, Refuse, "{rules: [{when: [{key: destination.namespace, values: [a]}]}]}"),
            (347, Refuse, "{rules: [{when: [{key: source.ip, values: [a]}]}]}"),
            (349, Warn, "{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}"),
            (349, Accept, "{}"),
            (349, Accept, "{rules: [{}]}"),
            (
                349,
                Accept,
                "{rules: [{to: [{operation: {paths: ['/a/{*}/b/{**}'], ports: ['80']}}]}]}",
            ),
        ],
    );
}

#[test]
fn telemetry() {
    check_all(
        "telemetry.istio.io/v1",
        "Telemetry",
        &[
            (
                350,
                Warn,
                "{tracing: [{randomSamplingPercentage: 1}, {randomSamplingPercentage: 2}]}",
            ),
            (352, Refuse, "{tracing: [{randomSamplingPercentage: 101}]}"),
            (352, Refuse, "{tracing: [{randomSamplingPercentage: -1}]}"),
            (356, Refuse, "{metrics: [{providers: [{name: ''}]}]}"),
            (
                358,
                Refuse,
                "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}",
            ),
            (359, Refuse, "{metrics: [{overrides: [{match: {customMetric: ''}}]}]}"),
            (
                359,
                Accept,
                "{metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: CLIENT}, disabled: true}]}]}",
            ),
        ],
    );
}

#[test]
fn metadata_is_checked_for_every_kind() {
    let read_with = |kind: &str, metadata: &str, spec: &str| {
        let group = if kind == "AuthorizationPolicy" { SECURITY } else { NETWORKING };
        verdict(&read(group, kind, metadata, spec))
    };
    let dry_run = |value: &str| format!(", annotations: {{istio.io/dry-run: '{value}'}}");
    let gateway = "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: ['*']}]}";
    assert_eq!(read_with("Gateway", &dry_run("true"), gateway), Refuse);
    assert_eq!(read_with("AuthorizationPolicy", &dry_run("maybe"), "{}"), Refuse);
    assert_eq!(read_with("AuthorizationPolicy", &dry_run("true"), "{}"), Accept);
    let internal = ", annotations: {internal.istio.io/parents: a}";
    assert_eq!(read_with("Gateway", internal, gateway), Refuse);
    let dotted = read_text(
        &format!(
            "apiVersion: {NETWORKING}\nkind: Gateway\nmetadata: {{name: a.b}}\nspec: {gateway}\n"
        ),
        "case.yaml",
        &ReadOptions::default(),
    );
    assert_eq!(verdict(&dotted), Refuse);
    let beside = format!("{gateway}\nspecs: {{}}");
    assert_eq!(read_with("Gateway", "", &beside), Refuse);
}
