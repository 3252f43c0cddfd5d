//! The table of codes. A number is never used for anything else, not even after its code is gone.

use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $title:literal, $explanation:literal;)*) => {
        /// The kind of a problem. Shown as `IAKO0001`; see `docs/codes.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number, from 1.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* }
            }

            /// How bad the problem is, unless the finding says otherwise.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// The problem in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Why it matters and what to do.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)* }
            }
        }
    };
}

codes! {
    UnreadableFile = 1, Error, "A file cannot be read",
        "The file is missing, not readable, too large or not UTF-8. What it said before stays in force.";
    BrokenYaml = 2, Error, "A file is neither YAML nor JSON",
        "The text breaks the rules of YAML at the place named. What the file said before stays in force.";
    DocumentLimit = 3, Error, "A document exceeds a limit",
        "Nesting, aliases and size are bounded, so that a small file cannot take all memory.";
    DuplicateKey = 4, Error, "A key stands twice in one mapping",
        "YAML readers disagree about which of the two counts, so neither does. Remove one.";
    NotAnObject = 5, Error, "A document is no Kubernetes object",
        "An object is a mapping with apiVersion, kind and metadata.";
    BadMetadata = 6, Error, "The name or namespace of an object is missing or not allowed",
        "Every object has a metadata.name; names and namespaces are lower-case DNS names.";
    UnknownKind = 7, Error, "A kind of a group we read does not exist",
        "The apiVersion belongs to Istio or the Gateway API, but has no such kind. Often a typing error.";
    UnknownVersion = 8, Error, "A kind has no such version",
        "The kind exists, but not under this apiVersion.";
    UnsupportedKind = 9, Warning, "A kind is not carried yet",
        "The object is well known to Istio or Kubernetes users, but has no effect here, for the reason given.";
    DuplicateObject = 10, Error, "An object is defined twice",
        "Two documents define the same kind, namespace and name. The first one counts.";
    KeptLastGood = 11, Warning, "The previous version of an object stays in force",
        "An edit broke the object or its file. Until that is mended, the last version that was correct is used.";
    SurprisingScalar = 12, Warning, "A value without quotes is not what it looks like",
        "Kubernetes reads YAML by old rules: yes, no, on, off, y and n are booleans, and 010 is eight. Write true or false, or put quotes around a text.";
    UnknownField = 20, Error, "A field does not exist",
        "The kind has no such field. Kubernetes would drop it in silence; here it is an error, because a misspelt field never does what was meant.";
    WrongType = 21, Error, "A value has the wrong type",
        "A text stands where a number is expected, or the like. Texts that look like numbers or booleans need quotes.";
    MissingField = 22, Error, "A required field is missing", "The object means nothing without this field.";
    BadValue = 23, Error, "A value is not allowed",
        "The value has the right type, but is outside what the field can hold.";
    UnknownEnum = 24, Error, "A word is not one of those allowed", "The field takes one of a few words, in this spelling.";
    BadDuration = 25, Error, "A duration is not readable",
        "Durations are written with a unit, such as 500ms, 1.5s, 10m or 1h, and are whole milliseconds.";
    BadRegex = 26, Error, "A regular expression does not compile",
        "Expressions are in RE2 syntax: no look-around and no back-references; at most 1024 characters.";
    BadHost = 27, Error, "A host name is not allowed",
        "A host is a DNS name, or a wildcard whose star is the whole first label.";
    Conflict = 28, Error, "Two fields exclude each other", "Only one of them can be given; decide for one.";
    Duplicate = 29, Error, "Something stands twice in a list", "Names, ports and hosts are unique where they tell things apart.";
    EmptyValue = 30, Error, "A value is present but empty",
        "An empty block or list where something is required means nothing; give it a value or remove it.";
    RuleBroken = 31, Error, "A rule of the kind's schema does not hold",
        "The published definition of the kind has rules about several fields together. An API server refuses an object that breaks one, with the same words.";
    FieldRefused = 40, Error, "A field is not carried yet, and the object cannot do without",
        "To leave the field out would change what the object means, so the whole object is refused.";
    FieldIgnored = 41, Warning, "A field has no effect here",
        "The rest of the object works. The reason is given with the message and in docs/istio-support.md.";
    Deprecated = 42, Warning, "A field or form is old", "It still works. Its successor is named in the message.";
    NoEffect = 43, Warning, "A setting does nothing as written", "The object is correct, but this part of it changes nothing.";
    UnreachableRule = 44, Warning, "A rule can never match", "An earlier rule of the same object takes every request that this one would.";
    BroaderThanMeant = 45, Warning, "A rule matches more than it seems to",
        "Rules about requests that are applied to opaque connections lose those conditions.";
    WholeNamespace = 46, Warning, "A selector without labels takes the whole namespace",
        "Remove the selector to say so plainly, or give it labels.";
    HostNotFound = 100, Warning, "A host is in no registry",
        "A rule sends to, or configures, a host that no Service and no ServiceEntry defines. Requests get 503 with flag NC.";
    SubsetNotFound = 101, Error, "A subset is not defined",
        "A rule sends to a subset that no visible DestinationRule of the host defines. Requests get 503 with flag NC.";
    GatewayNotFound = 102, Warning, "A Gateway does not exist", "A VirtualService is bound to a Gateway that nobody defined.";
    GatewayWithoutWorkload = 103, Warning, "A Gateway selects no workload",
        "No pod carries the labels of the selector. Under iako up, a gateway is started for it.";
    PortNotFound = 104, Error, "A service has no such port", "Destinations name the port of the service, not that of its pods.";
    PortRequired = 105, Error, "A destination must name a port", "The service has several ports, so the destination has to say which.";
    HostConflict = 106, Warning, "Two VirtualServices claim one host",
        "In the sidecars only the older one counts; the other one's rules for this host do nothing.";
    HostNotOnGateway = 107, Warning, "No host of a VirtualService is served by its Gateway",
        "The hosts of both have to overlap, or no request reaches the rules.";
    SelectorMatchesNothing = 108, Warning, "A selector matches no workload", "No pod of the namespace carries all its labels.";
    SubsetWithoutEndpoints = 109, Warning, "A subset has no endpoint", "No pod of the service carries the labels of the subset.";
    ServiceWithoutEndpoints = 110, Warning, "A service has no endpoint", "No pod carries the labels of its selector.";
    TargetPortNotFound = 111, Warning, "A target port is not a port of the pods", "Connections to it will be refused.";
    ProtocolNotDeclared = 112, Info, "A port does not say what it speaks",
        "The protocol is found out from the first bytes. Name the port http-…, or set appProtocol, to be sure.";
    SecretNotFound = 113, Error, "A secret does not exist", "A Gateway names a credential that is not in the namespace of the gateway's workload.";
    MutualTlsConflict = 114, Error, "Client and server disagree about TLS",
        "A DestinationRule makes clients speak what the server's PeerAuthentication refuses.";
    IdentityWithoutMutualTls = 115, Warning, "A policy asks for identities where plain text is allowed",
        "Clients without mutual TLS have no identity: rules that allow never match them, rules that exclude always do.";
    TokenNeverChecked = 116, Warning, "A policy asks for a token that nothing verifies",
        "Without a RequestAuthentication for the workload there is never a verified token.";
    PolicyShadowed = 117, Warning, "An older object of the same scope counts instead",
        "Of several such objects in one scope only the oldest one has effect.";
    ProviderNotFound = 118, Error, "A provider is not defined", "A Telemetry object names an extension provider that the mesh settings do not define.";
    DestinationRuleUnused = 119, Warning, "A DestinationRule applies to nothing", "Its host is in no registry, or another rule wins for every client.";
    DenyAll = 120, Info, "A policy refuses every request", "An ALLOW policy without rules, or a DENY policy with an empty rule, closes its workloads.";
    GatewayConflict = 121, Warning, "Two Gateways claim one port or host", "The older one wins.";
    WorkloadWithoutService = 122, Info, "A workload belongs to no service", "Nobody can reach it by a name.";
    MissingNamespace = 123, Info, "A namespace is used but not defined", "Kubernetes would refuse the object.";
    ServiceEntryConflict = 124, Warning, "ServiceEntries disagree about what a port speaks",
        "Several ServiceEntries define one host and port, but with different protocols. Which of them counts depends on their age.";
    PortProtocolConflict = 125, Warning, "Services disagree about what a port of a workload speaks",
        "A proxy treats each port of its workload in one way, whichever service a connection was meant for.";
    PortNumberConflict = 126, Info, "Services reach one port of a workload under different numbers",
        "It works, but rules and metrics about a port number then mean only some of the clients.";
    SystemRoots = 127, Info, "A client trusts the roots of its machine",
        "Without caCertificates or a credential, the server's certificate is checked against the roots of the machine that the proxy runs on. That is right for hosts of the internet, and never for a private authority.";
    AddressMissing = 128, Info, "Connections to an opaque port are recognised by its number alone",
        "Opaque bytes name no host. Without addresses, every connection to this port that nobody else claims is taken for this service.";
    SharedCertificate = 129, Warning, "Gateways share a certificate",
        "Browsers reuse a connection for every host of its certificate, and then ask a Gateway for hosts that another one serves, which gets them 404.";
    GatewayPortNotOnService = 130, Warning, "No service leads to a port of a Gateway",
        "The gateway listens there, but the services before it send nothing to that port.";
    InternalGateway = 131, Warning, "A VirtualService names a Gateway that is made by the control plane",
        "Its name may change whenever the Gateway of the Gateway API does. Attach an HTTPRoute instead.";
    DuplicateMatch = 132, Info, "A match repeats one of an earlier rule", "Requests that it describes have been taken already; the other matches of its rule still count.";
    WeightSum = 133, Info, "Weights do not add up to 100",
        "Weights are shares of their sum, not percent. Nothing is lost, but the numbers are not what they seem to be.";
    RulesNotAtGateway = 134, Info, "Rules for a host do not apply to requests from a gateway",
        "A gateway follows the VirtualServices that are bound to it. One that is bound to the sidecars alone says nothing about its requests.";
    TokenNotRequired = 135, Info, "Requests without a token pass",
        "A RequestAuthentication refuses wrong tokens only. To refuse requests that have none takes an AuthorizationPolicy.";
    RetriesDoNotFit = 136, Info, "Retries do not fit into the timeout",
        "The timeout of a route holds for all attempts together, so that an attempt that may take as long as the whole leaves no time for another.";
    MisplacedAnnotation = 137, Warning, "An annotation is on the wrong kind of object",
        "Annotations about pods belong into the template of their Deployment, not on the Deployment itself.";
    UnknownAnnotation = 138, Warning, "An annotation of Istio's does not exist", "Often a typing error; it means nothing.";
    BadAnnotation = 139, Warning, "An annotation or label has a value that means nothing",
        "The injector or the proxy would not understand it.";
    InjectionLabels = 140, Warning, "A namespace contradicts itself about sidecars",
        "It carries several labels that each decide who gets a sidecar; which of them counts depends on how Istio was installed.";
    ReservedUser = 141, Warning, "An application runs as the user of the proxy",
        "User 1337 is how the redirection of traffic tells the proxy from the application; what the application sends as this user passes the proxy by.";
    ImageNotInjected = 142, Warning, "A proxy's image is left to an injector that does not run",
        "The image auto is a place that sidecar injection fills. Where nothing asks for a sidecar, the pod cannot start.";
    ExternalNamePort = 143, Warning, "A port of an ExternalName service carries opaque bytes",
        "Such a service has no address, and opaque bytes name no host: connections are recognised by the number of the port alone.";
    BadCredential = 144, Error, "A secret holds no usable certificate",
        "A credential is a certificate chain and its private key in PEM, under tls.crt and tls.key or cert and key.";
    CertificateExpires = 145, Warning, "A certificate is about to expire, or has", "Clients refuse a server whose certificate is out of its time.";
    KeyMismatch = 146, Error, "A private key does not belong to its certificate", "No handshake can succeed with them.";
    CertificateWithoutHost = 147, Warning, "A certificate does not name the host that it is shown for",
        "Clients compare the host that they asked for with the names in the certificate, and refuse others.";
    PrincipalNotFound = 148, Warning, "A policy names an identity that no workload has",
        "The rule never matches. Identities are written trust-domain/ns/namespace/sa/service-account, without spiffe://.";
    PolicyPortNotFound = 149, Warning, "A policy names a port that its workloads do not have",
        "Policies mean ports of the pods, not those of the services before them.";
    EgressHostNotFound = 150, Warning, "A Sidecar lets through a host that does not exist", "No service of the namespace has a host that it covers.";
    NeverMatches = 151, Warning, "A condition can never be true",
        "Methods are written in capitals, and every path begins with a slash.";
    DelegateNotFound = 152, Warning, "A rule delegates to an object that cannot take it over",
        "A delegate is a VirtualService without hosts, which does not delegate again. Requests that the rule takes get 404.";
    DelegateUnused = 153, Info, "Nobody delegates to a VirtualService without hosts", "Its rules count only where another VirtualService names it as a delegate.";
    PatchOrder = 154, Warning, "A patch depends on the order of EnvoyFilters",
        "It looks for something that another EnvoyFilter may not have made yet. Without a priority their age decides.";
    PatchIgnored = 155, Warning, "A patch has an operation that its place does not take", "Istio passes such a patch over.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IAKO{:04}", self.number())
    }
}
